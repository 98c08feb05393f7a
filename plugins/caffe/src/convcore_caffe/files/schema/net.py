"""Blobs, the net, and its three generations of layer message (V2 ``layer``, V1 ``layers``, V0 ``layers { layer {} }``).

``raw_data*`` are NVCaffe's fields. V0 is BVLC's. The fields that hold parameters of one layer, and the types of V1, are in the
layers' records (``layer_spec``).
"""

ENUMS = {
    "Phase": "TRAIN 0; TEST 1",
    "DimCheckMode": "STRICT 0; PERMISSIVE 1",
    "RawType": "DOUBLE 0; FLOAT 1; FLOAT16 2; INT 3; UINT 4",
    "V1LayerType": "NONE 0",
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
        transform_param 100 TransformationParameter; loss_param 101 LossParameter
    """,
    "V1LayerParameter": """
        layer 1 V0LayerParameter; bottom 2 string*; top 3 string*; name 4 string; type 5 V1LayerType; blobs 6 BlobProto*
        blobs_lr 7 float*; weight_decay 8 float*; include 32 NetStateRule*; exclude 33 NetStateRule*
        loss_weight 35 float*
        param 1001 string*; blob_share_mode 1002 DimCheckMode*
        transform_param 36 TransformationParameter; loss_param 42 LossParameter
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
