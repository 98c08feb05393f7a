"""Blobs, the net, and its three generations of layer message (V2 ``layer``, V1 ``layers``, V0 ``layers { layer {} }``).

``raw_data*`` are NVCaffe's fields. V0 is BVLC's; the fork rows of LayerParameter name messages of ``forks``. Enum
values below 0 are fork names whose number differs between forks: text only.
"""

ENUMS = {
    "Phase": "TRAIN 0; TEST 1",
    "DimCheckMode": "STRICT 0; PERMISSIVE 1",
    "RawType": "DOUBLE 0; FLOAT 1; FLOAT16 2; INT 3; UINT 4",
    "V1LayerType": """
        NONE 0; ACCURACY 1; BNLL 2; CONCAT 3; CONVOLUTION 4; DATA 5; DROPOUT 6; EUCLIDEAN_LOSS 7; FLATTEN 8; HDF5_DATA 9
        HDF5_OUTPUT 10; IM2COL 11; IMAGE_DATA 12; INFOGAIN_LOSS 13; INNER_PRODUCT 14; LRN 15
        MULTINOMIAL_LOGISTIC_LOSS 16
        POOLING 17; RELU 18; SIGMOID 19; SOFTMAX 20; SOFTMAX_LOSS 21; SPLIT 22; TANH 23; WINDOW_DATA 24; ELTWISE 25
        POWER 26
        SIGMOID_CROSS_ENTROPY_LOSS 27; HINGE_LOSS 28; MEMORY_DATA 29; ARGMAX 30; THRESHOLD 31; DUMMY_DATA 32
        SLICE 33; MVN 34
        ABSVAL 35; SILENCE 36; CONTRASTIVE_LOSS 37; EXP 38; DECONVOLUTION 39
        BN -1; UPSAMPLE -2; CROP -3; PRELU -4; ROI_POOLING -5; DENSE_IMAGE_DATA -6
    """,
    "V0PoolMethod": "MAX 0; AVE 1; STOCHASTIC 2",
}

MESSAGES = {
    "BlobShape": "dim 1 int64*",
    "BlobProto": """
        shape 7 BlobShape; data 5 float*; diff 6 float*; double_data 8 double*; double_diff 9 double*
        num 1 int32=0; channels 2 int32=0; height 3 int32=0; width 4 int32=0
        raw_data_type 10 RawType; raw_diff_type 11 RawType; raw_data 12 bytes; raw_diff 13 bytes
    """,
    "FillerParameter": """
        type 1 string=constant; value 2 float=0; min 3 float=0; max 4 float=1; mean 5 float=0; std 6 float=1
        sparse 7 int32=-1; variance_norm 8 VarianceNorm=FAN_IN
    """,
    "NetParameter": """
        name 1 string; input 3 string*; input_shape 8 BlobShape*; input_dim 4 int32*; force_backward 5 bool=false
        state 6 NetState; debug_info 7 bool=false; layer 100 LayerParameter*; layers 2 V1LayerParameter*
    """,
    "NetState": "phase 1 Phase=TEST; level 2 int32=0; stage 3 string*",
    "NetStateRule": "phase 1 Phase; min_level 2 int32; max_level 3 int32; stage 4 string*; not_stage 5 string*",
    "ParamSpec": "name 1 string; share_mode 2 DimCheckMode; lr_mult 3 float=1; decay_mult 4 float=1",
    "LayerParameter": """
        name 1 string; type 2 string; bottom 3 string*; top 4 string*; phase 10 Phase; loss_weight 5 float*
        param 6 ParamSpec*; blobs 7 BlobProto*; propagate_down 11 bool*; include 8 NetStateRule*
        exclude 9 NetStateRule*
        transform_param 100 TransformationParameter; loss_param 101 LossParameter; accuracy_param 102 AccuracyParameter
        argmax_param 103 ArgMaxParameter; concat_param 104 ConcatParameter
        contrastive_loss_param 105 ContrastiveLossParameter
        convolution_param 106 ConvolutionParameter; data_param 107 DataParameter; dropout_param 108 DropoutParameter
        dummy_data_param 109 DummyDataParameter; eltwise_param 110 EltwiseParameter; exp_param 111 ExpParameter
        hdf5_data_param 112 HDF5DataParameter; hdf5_output_param 113 HDF5OutputParameter
        hinge_loss_param 114 HingeLossParameter
        image_data_param 115 ImageDataParameter; infogain_loss_param 116 InfogainLossParameter
        inner_product_param 117 InnerProductParameter; lrn_param 118 LRNParameter
        memory_data_param 119 MemoryDataParameter
        mvn_param 120 MVNParameter; pooling_param 121 PoolingParameter; power_param 122 PowerParameter
        relu_param 123 ReLUParameter
        sigmoid_param 124 SigmoidParameter; softmax_param 125 SoftmaxParameter; slice_param 126 SliceParameter
        tanh_param 127 TanHParameter; threshold_param 128 ThresholdParameter; window_data_param 129 WindowDataParameter
        python_param 130 PythonParameter; prelu_param 131 PReLUParameter; spp_param 132 SPPParameter
        reshape_param 133 ReshapeParameter; log_param 134 LogParameter; flatten_param 135 FlattenParameter
        reduction_param 136 ReductionParameter; embed_param 137 EmbedParameter; tile_param 138 TileParameter
        batch_norm_param 139 BatchNormParameter; elu_param 140 ELUParameter; bias_param 141 BiasParameter
        scale_param 142 ScaleParameter; input_param 143 InputParameter; crop_param 144 CropParameter
        parameter_param 145 ParameterParameter; recurrent_param 146 RecurrentParameter; swish_param 147 SwishParameter
        clip_param 148 ClipParameter
        annotated_data_param 200 AnnotatedDataParameter; multibox_loss_param 201 MultiBoxLossParameter
        permute_param 202 PermuteParameter; prior_box_param 203 PriorBoxParameter
        detection_output_param 204 DetectionOutputParameter; detection_evaluate_param 205 DetectionEvaluateParameter
        norm_param 206 NormalizeParameter; video_data_param 207 VideoDataParameter
        interp_param 0 InterpParameter; upsample_param 0 UpsampleParameter; relu6_param 0 ReLU6Parameter
        hardsigmoid_param 0 HardSigmoidParameter; hard_sigmoid_param 0 HardSigmoidParameter; pad_param 0 PadParameter
        bn_param 0 BNParameter; shuffle_channel_param 0 ShuffleChannelParameter; roi_pooling_param 0 ROIPoolingParameter
        psroi_pooling_param 0 PSROIPoolingParameter; proposal_param 0 ProposalParameter; reorg_param 0 ReorgParameter
        axpy_param 0 AxpyParameter; crop_center_param 0 CropCenterParameter; unsqueeze_param 0 UnsqueezeParameter
        resize_param 0 ResizeLayerParameter; bilinear_interpolate_param 0 BilinearInterpolateParameter
        max_unpool_param 0 MaxUnPoolParameter; pixelshuffle_param 0 PixelShuffleParameter; mish_param 0 MishParameter
        yolo_detection_output_param 0 YoloDetectionOutputParameter
        yolov3_detection_output_param 0 Yolov3DetectionOutputParameter
    """,
    "V1LayerParameter": """
        layer 1 V0LayerParameter; bottom 2 string*; top 3 string*; name 4 string; type 5 V1LayerType; blobs 6 BlobProto*
        blobs_lr 7 float*; weight_decay 8 float*; include 32 NetStateRule*; exclude 33 NetStateRule*
        loss_weight 35 float*
        param 1001 string*; blob_share_mode 1002 DimCheckMode*
        concat_param 9 ConcatParameter; convolution_param 10 ConvolutionParameter; data_param 11 DataParameter
        dropout_param 12 DropoutParameter; hdf5_data_param 13 HDF5DataParameter
        hdf5_output_param 14 HDF5OutputParameter
        image_data_param 15 ImageDataParameter; infogain_loss_param 16 InfogainLossParameter
        inner_product_param 17 InnerProductParameter; lrn_param 18 LRNParameter; pooling_param 19 PoolingParameter
        window_data_param 20 WindowDataParameter; power_param 21 PowerParameter
        memory_data_param 22 MemoryDataParameter
        argmax_param 23 ArgMaxParameter; eltwise_param 24 EltwiseParameter; threshold_param 25 ThresholdParameter
        dummy_data_param 26 DummyDataParameter; accuracy_param 27 AccuracyParameter
        hinge_loss_param 29 HingeLossParameter
        relu_param 30 ReLUParameter; slice_param 31 SliceParameter; mvn_param 34 MVNParameter
        transform_param 36 TransformationParameter; tanh_param 37 TanHParameter; sigmoid_param 38 SigmoidParameter
        softmax_param 39 SoftmaxParameter; contrastive_loss_param 40 ContrastiveLossParameter; exp_param 41 ExpParameter
        loss_param 42 LossParameter
        bn_param 0 BNParameter; upsample_param 0 UpsampleParameter; prelu_param 0 PReLUParameter
        crop_param 0 CropParameter
        roi_pooling_param 0 ROIPoolingParameter
    """,
    "V0LayerParameter": """
        name 1 string; type 2 string; num_output 3 uint32; biasterm 4 bool=true; weight_filler 5 FillerParameter
        bias_filler 6 FillerParameter; pad 7 uint32=0; kernelsize 8 uint32; group 9 uint32=1; stride 10 uint32=1
        pool 11 V0PoolMethod=MAX; dropout_ratio 12 float=0.5; local_size 13 uint32=5; alpha 14 float=1
        beta 15 float=0.75
        k 22 float=1; source 16 string; scale 17 float=1; meanfile 18 string; batchsize 19 uint32; cropsize 20 uint32=0
        mirror 21 bool=false; blobs 50 BlobProto*; blobs_lr 51 float*; weight_decay 52 float*; rand_skip 53 uint32=0
        det_fg_threshold 54 float=0.5; det_bg_threshold 55 float=0.5; det_fg_fraction 56 float=0.25
        det_context_pad 58 uint32=0
        det_crop_mode 59 string=warp; new_num 60 int32=0; new_channels 61 int32=0; new_height 62 int32=0
        new_width 63 int32=0
        shuffle_images 64 bool=false; concat_dim 65 uint32=1; hdf5_output_param 1001 HDF5OutputParameter
    """,
}
