"""What the parameter messages of several or all layers name; a layer's own message is in its record (``layer_spec``).

BVLC's (master 9b891540), then those of weiliu89's SSD branch.
"""

ENUMS = {
    "VarianceNorm": "FAN_IN 0; FAN_OUT 1; AVERAGE 2",
    "NormalizationMode": "FULL 0; VALID 1; BATCH_SIZE 2; NONE 3",
    "Engine": "DEFAULT 0; CAFFE 1; CUDNN 2",
    "PoolMethod": "MAX 0; AVE 1; STOCHASTIC 2",
    "CodeType": "CORNER 1; CENTER_SIZE 2; CORNER_SIZE 3",
    "EmitType": "CENTER 0; MIN_OVERLAP 1",
    "ResizeMode": "WARP 1; FIT_SMALL_SIZE 2; FIT_LARGE_SIZE_AND_PAD 3",
    "ResizePadMode": "CONSTANT 1; MIRRORED 2; REPEAT_NEAREST 3",
    "InterpMode": "LINEAR 1; AREA 2; NEAREST 3; CUBIC 4; LANCZOS4 5",
}

MESSAGES = {
    "TransformationParameter": """
        scale 1 float=1; mirror 2 bool=false; crop_size 3 uint32=0; mean_file 4 string; mean_value 5 float*
        force_color 6 bool=false; force_gray 7 bool=false
        resize_param 8 ResizeParameter; noise_param 9 NoiseParameter; emit_constraint 10 EmitConstraint
        crop_h 11 uint32=0; crop_w 12 uint32=0; distort_param 13 DistortionParameter; expand_param 14 ExpansionParameter
    """,
    "LossParameter": "ignore_label 1 int32; normalization 3 NormalizationMode=VALID; normalize 2 bool",
    # ---- SSD's
    "NonMaximumSuppressionParameter": "nms_threshold 1 float=0.3; top_k 2 int32; eta 3 float=1",
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
}
