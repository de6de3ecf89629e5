"""What the confined decoder opens: containers, codecs and pixel formats by FFmpeg's names.

Flaws are found most often in formats that hardly anybody has. These are what cameras, phones, recorders, editors and
video sites write; playlists and formats that name other files are not among them.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEMUXERS = _names(
    "mov mp4 matroska webm avi mpeg mpegts mpegvideo m4v h264 hevc av1 obu ivf flv asf asf_o ogg wav w64 flac mp3 aac "
    "loas latm amr amrnb amrwb gif apng mxf ac3 eac3 dts aiff caf au wv dv mjpeg vc1 yuv4mpegpipe nut jpeg_pipe "
    "png_pipe webp_pipe bmp_pipe srt"
)
"""Containers; one of a demuxer's names is enough."""

STILLS = _names(".jpg .jpeg .png .bmp .webp")
"""Endings by which FFmpeg takes a reader that opens the file by its name; without them it goes by the content."""

CODECS = _names(
    # pictures
    "h263 h264 hevc vp8 vp9 av1 mpeg1video mpeg2video mpeg4 msmpeg4v1 msmpeg4v2 msmpeg4v3 h263p h263i flv1 mjpeg "
    "wmv1 wmv2 wmv3 vc1 prores dnxhd theora ffv1 huffyuv ffvhuff utvideo rawvideo v210 dvvideo gif apng png webp bmp "
    # sound
    "aac aac_latm mp1 mp2 mp3 opus vorbis flac ac3 eac3 alac dts wmav1 wmav2 wmapro wmalossless wmavoice amr_nb amr_wb "
    "speex wavpack gsm gsm_ms adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_swf adpcm_g722 adpcm_g726 adpcm_yamaha "
    "pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_s64le pcm_u8 pcm_s8 pcm_f32le pcm_f32be "
    "pcm_f64le pcm_f64be pcm_mulaw pcm_alaw pcm_s16le_planar pcm_s24le_planar pcm_s32le_planar pcm_s16be_planar "
    "pcm_bluray pcm_dvd pcm_u16le pcm_u24le pcm_u32le pcm_lxf"
)
"""Codecs by their canonical names."""

DECODERS = CODECS | _names(
    "libdav1d libaom-av1 libvpx libvpx-vp9 libopus libvorbis libspeex mp1float mp2float mp3float flv dca amrnb amrwb "
    "libopencore_amrnb libopencore_amrwb libgsm libgsm_ms aac_fixed ac3_fixed adpcm_g726le h263i"
)
"""Names of decoders, for FFmpeg's own look at the streams."""

_BITS = ("", "9le", "10le", "12le", "14le", "16le")
PIXEL_FORMATS = _names(
    "yuv411p yuv410p yuv440p yuvj420p yuvj422p yuvj444p yuvj440p nv12 nv21 p010le rgb24 bgr24 rgba bgra argb abgr rgb0 "
    "bgr0 0rgb 0bgr rgb48le rgba64le rgb565le rgb555le yuyv422 uyvy422 ya8 pal8 monob monow"
) | {
    f"{kind}{bits}"
    for kind in _names("yuv420p yuv422p yuv444p yuva420p yuva422p yuva444p gray gbrp gbrap")
    for bits in _BITS
}
"""Frames of these formats come as they are, all others as rgb24."""
