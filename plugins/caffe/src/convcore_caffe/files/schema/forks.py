"""Parameter messages of fork layers: SSD (weiliu89), SegNet, PSPNet/DeepLab, (R-)FCN, YOLO ports, SENet,
brocolli-caffe.

Where forks give one name different fields the union is declared; where they give one field different defaults, ``?``.
"""

ENUMS = {
    "CodeType": "CORNER 1; CENTER_SIZE 2; CORNER_SIZE 3",
    "LocLossType": "L2 0; SMOOTH_L1 1",
    "ConfLossType": "SOFTMAX 0; LOGISTIC 1",
    "MatchType": "BIPARTITE 0; PER_PREDICTION 1",
    "MiningType": "NONE 0; MAX_NEGATIVE 1; HARD_EXAMPLE 2",
    "EmitType": "CENTER 0; MIN_OVERLAP 1",
    "ResizeMode": "WARP 1; FIT_SMALL_SIZE 2; FIT_LARGE_SIZE_AND_PAD 3",
    "ResizePadMode": "CONSTANT 1; MIRRORED 2; REPEAT_NEAREST 3",
    "InterpMode": "LINEAR 1; AREA 2; NEAREST 3; CUBIC 4; LANCZOS4 5",
    "AnnotationType": "BBOX 0",
    "VideoType": "WEBCAM 0; VIDEO 1",
    "PadType": "CONSTANT 0; REPLICATE 1; REFLECT 2",
    "BNMode": "LEARN 0; INFERENCE 1",
}

MESSAGES = {
    # ---- SSD
    "PermuteParameter": "order 1 uint32*",
    "PriorBoxParameter": """
        min_size 1 float*; max_size 2 float*; aspect_ratio 3 float*; flip 4 bool=true; clip 5 bool=?; variance 6 float*
        img_size 7 uint32; img_h 8 uint32; img_w 9 uint32; step 10 float; step_h 11 float; step_w 12 float
        offset 13 float=0.5
    """,
    "NonMaximumSuppressionParameter": "nms_threshold 1 float=0.3; top_k 2 int32; eta 3 float=1",
    "SaveOutputParameter": """
        output_directory 1 string; output_name_prefix 2 string; output_format 3 string; label_map_file 4 string
        name_size_file 5 string; num_test_image 6 uint32; resize_param 7 ResizeParameter
    """,
    "DetectionOutputParameter": """
        num_classes 1 uint32; share_location 2 bool=true; background_label_id 3 int32=0
        nms_param 4 NonMaximumSuppressionParameter; save_output_param 5 SaveOutputParameter; code_type 6 CodeType=CORNER
        variance_encoded_in_target 8 bool=false; keep_top_k 7 int32=-1; confidence_threshold 9 float
        visualize 10 bool=false; visualize_threshold 11 float; save_file 0 string; objectness_score 0 float
    """,
    "NormalizeParameter": """
        across_spatial 1 bool=true; scale_filler 2 FillerParameter; channel_shared 3 bool=true; eps 4 float=1e-10
    """,
    "DetectionEvaluateParameter": """
        num_classes 1 uint32; background_label_id 2 uint32=0; overlap_threshold 3 float=0.5
        evaluate_difficult_gt 4 bool=true
        name_size_file 5 string; resize_param 6 ResizeParameter
    """,
    "MultiBoxLossParameter": """
        loc_loss_type 1 LocLossType=SMOOTH_L1; conf_loss_type 2 ConfLossType=SOFTMAX; loc_weight 3 float=1
        num_classes 4 uint32
        share_location 5 bool=true; match_type 6 MatchType=PER_PREDICTION; overlap_threshold 7 float=0.5
        use_prior_for_matching 8 bool=true; background_label_id 9 uint32=0; use_difficult_gt 10 bool=true
        do_neg_mining 11 bool
        neg_pos_ratio 12 float=3; neg_overlap 13 float=0.5; code_type 14 CodeType=CORNER
        encode_variance_in_target 16 bool=false; map_object_to_agnostic 17 bool=false
        ignore_cross_boundary_bbox 18 bool=false; bp_inside 19 bool=false; mining_type 20 MiningType=MAX_NEGATIVE
        nms_param 21 NonMaximumSuppressionParameter; sample_size 22 int32=64; use_prior_for_nms 23 bool=false
    """,
    "AnnotatedDataParameter": """
        batch_sampler 1 BatchSampler*; label_map_file 2 string; anno_type 3 AnnotationType
    """,
    "Sampler": "min_scale 1 float=1; max_scale 2 float=1; min_aspect_ratio 3 float=1; max_aspect_ratio 4 float=1",
    "SampleConstraint": """
        min_jaccard_overlap 1 float; max_jaccard_overlap 2 float; min_sample_coverage 3 float
        max_sample_coverage 4 float
        min_object_coverage 5 float; max_object_coverage 6 float
    """,
    "BatchSampler": """
        use_original_image 1 bool=true; sampler 2 Sampler; sample_constraint 3 SampleConstraint; max_sample 4 uint32
        max_trials 5 uint32=100
    """,
    "EmitConstraint": "emit_type 1 EmitType=CENTER; emit_overlap 2 float",
    "ResizeParameter": """
        prob 1 float=1; resize_mode 2 ResizeMode=WARP; height 3 uint32=0; width 4 uint32=0
        pad_mode 5 ResizePadMode=CONSTANT
        pad_value 6 float*; interp_mode 7 InterpMode*; height_scale 8 uint32=0; width_scale 9 uint32=0
    """,
    "SaltPepperParameter": "fraction 1 float=0; value 2 float*",
    "NoiseParameter": """
        prob 1 float=0; hist_eq 2 bool=false; inverse 3 bool=false; decolorize 4 bool=false; gauss_blur 5 bool=false
        jpeg 6 float=-1; posterize 7 bool=false; erode 8 bool=false; saltpepper 9 bool=false
        saltpepper_param 10 SaltPepperParameter; clahe 11 bool=false; convert_to_hsv 12 bool=false
        convert_to_lab 13 bool=false
    """,
    "DistortionParameter": """
        brightness_prob 1 float=0; brightness_delta 2 float=0; contrast_prob 3 float=0; contrast_lower 4 float=0
        contrast_upper 5 float=0; hue_prob 6 float=0; hue_delta 7 float=0; saturation_prob 8 float=0
        saturation_lower 9 float=0
        saturation_upper 10 float=0; random_order_prob 11 float=0
    """,
    "ExpansionParameter": "prob 1 float=1; max_expand_ratio 2 float=1",
    "VideoDataParameter": "video_type 1 VideoType=WEBCAM; device_id 2 int32=0; video_file 3 string",
    # ---- segmentation
    "InterpParameter": """
        height 1 int32=0; width 2 int32=0; zoom_factor 3 int32=1; shrink_factor 4 int32=1; pad_beg 5 int32=0
        pad_end 6 int32=0
    """,
    "UpsampleParameter": """
        scale 0 float=?; scale_h 0 uint32; scale_w 0 uint32; pad_out_h 0 bool=false; pad_out_w 0 bool=false
        upsample_h 0 uint32; upsample_w 0 uint32; stride 0 int32; stride_h 0 int32; stride_w 0 int32; dims_num 0 int32=4
    """,
    "BNParameter": """
        slope_filler 0 FillerParameter; bias_filler 0 FillerParameter; scale_filler 0 FillerParameter
        shift_filler 0 FillerParameter; momentum 0 float=0.9; eps 0 float=1e-5; frozen 0 bool=false
        bn_mode 0 BNMode=LEARN
        engine 0 Engine=DEFAULT
    """,
    "CropCenterParameter": "crop_size 0 uint32*",
    # ---- regions
    "ROIPoolingParameter": "pooled_h 1 uint32=0; pooled_w 2 uint32=0; spatial_scale 3 float=1",
    "PSROIPoolingParameter": "spatial_scale 1 float!; output_dim 2 int32!; group_size 3 int32!",
    "ProposalParameter": """
        feat_stride 0 uint32=16; base_size 0 uint32=16; min_size 0 uint32=16; ratio 0 float*; scale 0 float*
        pre_nms_topn 0 uint32=6000; post_nms_topn 0 uint32=300; nms_thresh 0 float=0.7
    """,
    "ReorgParameter": "stride 0 uint32=?; reverse 0 bool=false",
    "YoloDetectionOutputParameter": """
        side 1 uint32=13; num_classes 2 uint32=20; num_box 3 uint32=5; coords 4 uint32=4
        confidence_threshold 5 float=0.01
        nms_threshold 6 float=0.45; biases 7 float*; label_map_file 8 string
    """,
    "Yolov3DetectionOutputParameter": """
        num_classes 1 uint32=20; num_box 2 uint32=3; confidence_threshold 3 float=?; nms_threshold 4 float=?
        biases 5 float*
        anchors_scale 6 uint32*; mask_group_num 7 uint32=?; mask 8 uint32*
    """,
    # ---- small ones
    "ReLU6Parameter": "negative_slope 0 float=0; threshold 0 float=6; engine 0 Engine=DEFAULT",
    "HardSigmoidParameter": "alpha 1 float=0.2; beta 2 float=0.5",
    "ShuffleChannelParameter": "group 1 uint32=1",
    "AxpyParameter": "",
    "PadParameter": """
        pad_type 1 PadType=CONSTANT; pad_u 2 int32=0; pad_d 3 int32=0; pad_l 4 int32=0; pad_r 5 int32=0;
        pad_value 6 float=0
    """,
    "UnsqueezeParameter": "dim 1 int32!",
    "ResizeLayerParameter": """
        height 1 uint32; width 2 uint32; is_pyramid_test 3 bool=false; out_height_scale 4 float; out_width_scale 5 float
    """,
    "BilinearInterpolateParameter": "dst_h 1 int32; dst_w 2 int32; scale_factor 3 float=1; align_corners 4 bool=true",
    "MaxUnPoolParameter": "dst_h 1 uint32; dst_w 2 uint32",
    "PixelShuffleParameter": "upscale_factor 1 int32!",
    "MishParameter": "engine 2 Engine=DEFAULT",
}
