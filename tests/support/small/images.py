"""Images resized and read at places, patches put back, transforms."""

from __future__ import annotations

from typing import Any

from tests.support.small import Case, Small, case

__all__ = ["IMAGES"]


def _resizes() -> dict[str, Case]:
    out: dict[str, Case] = {}
    for mode in ("nearest", "linear", "cubic"):
        for how in (
            "half_pixel",
            "align_corners",
            "asymmetric",
            "pytorch_half_pixel",
            "tf_half_pixel_for_nn",
            "half_pixel_symmetric",
        ):
            out[f"resize {mode} {how}"] = case(
                lambda g, mode=mode, how=how: g.resize(g.x("N", 2, 5, 7), sizes=(11, 3), mode=mode, coordinates=how)
            )
            out[f"resize {mode} {how} twice"] = case(
                lambda g, mode=mode, how=how: g.resize(g.x("N", 2, 5, 7), scales=(2.0, 1.0), mode=mode, coordinates=how)
            )
        out[f"resize {mode} open"] = case(lambda g, mode=mode: g.resize(g.x("N", 2, "H", 7), scales=(3.0, 2.0), mode=mode))
        out[f"resize {mode} open, by a part"] = case(
            lambda g, mode=mode: g.resize(g.x("N", 2, "H", 7), scales=(1.5, 2.0), mode=mode)
        )
        out[f"resize {mode} to the same"] = case(lambda g, mode=mode: g.resize(g.x("N", 2, 5, 7), sizes=(5, 7), mode=mode))
        out[f"resize {mode} of four axes"] = case(
            lambda g, mode=mode: g.resize(g.x("N", 2, 2, 3, 2, 3), sizes=(4, 3, 2, 3), mode=mode)
        )
    for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        for where in ("half_pixel", "asymmetric"):
            out[f"resize nearest {where} {how}"] = case(
                lambda g, how=how, where=where: g.resize(g.x("N", 2, 5), scales=(3.0,), nearest=how, coordinates=where)
            )
    return out | {
        "resize cubic otherwise": case(
            lambda g: g.resize(g.x("N", 2, 5, 7), sizes=(11, 3), mode="cubic", cubic_a=-0.5, exclude_outside=True)
        ),
        "resize antialiased": case(lambda g: g.resize(g.x("N", 2, 5, 7), sizes=(3, 2), mode="linear", antialias=True)),
        "resize antialiased, open": case(
            lambda g: g.resize(g.x("N", 2, "H", 7), scales=(2.0, 2.0), mode="linear", antialias=True)
        ),
        "resize linear open, one axis stays": case(lambda g: g.resize(g.x("N", 2, "H", 7), scales=(1.0, 4.0), mode="linear")),
        "resize linear open, of three axes": case(
            lambda g: g.resize(g.x("N", 2, "H", 3, 2), scales=(2.0, 3.0, 1.0), mode="linear", coordinates="pytorch_half_pixel")
        ),
        "resize integers": case(lambda g: g.resize(g.x("N", 2, 5, kind="int32"), scales=(2.0,))),
    }


def _samples() -> dict[str, Case]:
    out: dict[str, Case] = {}
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for align in (False, True):
                word = " aligned" if align else ""
                out[f"grid {mode} {padding}{word}"] = case(
                    lambda g, m=mode, p=padding, a=align: g.grid_sample(
                        g.x("N", 2, 3, 4), g.x("N", 5, 3, 2), mode=m, padding=p, align_corners=a
                    )
                )
    return out | {
        "grid of an open image": case(lambda g: g.grid_sample(g.x("N", 2, "H", 4), g.x("N", 5, 3, 2), padding="border")),
        "grid of an open image, mirrored": case(
            lambda g: g.grid_sample(g.x("N", 2, "H", 4), g.x("N", 5, 3, 2), padding="reflection")
        ),
        "grid of one element, mirrored": case(
            lambda g: g.grid_sample(g.x("N", 2, 1, 4), g.x("N", 5, 3, 2), padding="reflection", align_corners=True)
        ),
        "grid of three axes": case(lambda g: g.grid_sample(g.x("N", 2, 3, 2, 4), g.x("N", 2, 3, 2, 3))),
        "grid of another type": case(lambda g: g.grid_sample(g.x("N", 2, 3, 4), g.x("N", 5, 3, 2, kind="float64"))),
        "affine grid": case(lambda g: g.affine_grid(g.x("N", 2, 3), size=(4, 3))),
        "affine grid aligned": case(lambda g: g.affine_grid(g.x("N", 3, 4), size=(2, 3, 4), align_corners=True)),
        "affine grid of a size": case(lambda g: [g.tanh(g.x("N", "T")), g.affine_grid(g.x("N", 2, 3), size=(g.dim("T"), 3))]),
        "col2im": case(lambda g: g.col2im(g.x("N", 12, 15), image=(5, 6), kernel=(2, 3), strides=(1, 2), pads=((0, 1), (1, 1)))),
        "col2im dilated": case(lambda g: g.col2im(g.x("N", 12, 12), image=(5, 8), kernel=(2, 3), dilations=(2, 2))),
        "dft": case(lambda g: _transformed(g, axis=1)),
        "dft back": case(lambda g: _transformed(g, axis=2, inverse=True)),
        "dft of an open axis": case(lambda g: g.real(g.dft(g.x("N", "T"), axis=1))),
        "complex of a column": case(lambda g: _both(g, g.dft(g.complex(g.x(3, 5), g.x(3, 1)), axis=0))),
    }


def _both(g: Small, z: Any) -> Any:
    return [g.real(z), g.imag(z)]


def _transformed(g: Small, **attrs: Any) -> Any:
    return _both(g, g.dft(g.x("N", 3, 5), **attrs))


IMAGES = {**_resizes(), **_samples()}
