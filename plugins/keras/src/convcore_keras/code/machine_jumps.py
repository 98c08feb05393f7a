"""CPython's loops, branches and ends on symbolic values: loops run over known sequences and branches over known values only."""

from __future__ import annotations

from .bytecode import Instruction
from .domain import Misread
from .frame import Frame, LoopItems, handles

__all__: list[str] = []


@handles("GET_ITER")
def _get_iter(f: Frame, arg: int, ins: Instruction) -> None:
    f.push(LoopItems(f.domain.iterate(f.pop())))


@handles("FOR_ITER")
def _for_iter(f: Frame, arg: int, ins: Instruction) -> None:
    loop = f.stack[-1]
    if not isinstance(loop, LoopItems):
        raise Misread("loops over something that is no sequence")
    if loop.at < len(loop.items):
        loop.at += 1
        f.push(loop.items[loop.at - 1])
        return
    f.forward(arg, ins)
    if f.version.number < (3, 12):
        f.pop()
        return
    if f.listing[f.at].name != "END_FOR":
        raise Misread("ends a loop in an unknown way")
    f.at += 1  # END_FOR takes what the loop would have given; 3.12's takes the iterator too, 3.13 and 3.14 have POP_TOP, POP_ITER
    if f.version.number < (3, 13):
        f.pop()


@handles("END_FOR")
def _end_for(f: Frame, arg: int, ins: Instruction) -> None:
    f.popped(2 if f.version.number < (3, 13) else 1)


@handles("JUMP_ABSOLUTE", "CONTINUE_LOOP")
def _jump_absolute(f: Frame, arg: int, ins: Instruction) -> None:
    f.absolute(arg)


@handles("JUMP_FORWARD")
def _jump_forward(f: Frame, arg: int, ins: Instruction) -> None:
    f.forward(arg, ins)


@handles("JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump_backward(f: Frame, arg: int, ins: Instruction) -> None:
    f.backward(arg, ins)


@handles(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("TRUE", "FALSE")))
def _jump_if(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.pop()) == ins.name.endswith("TRUE"):
        f.conditional(arg, ins)


@handles(*(f"POP_JUMP_{way}IF_{what}" for way in ("", "FORWARD_", "BACKWARD_") for what in ("NONE", "NOT_NONE")))
def _jump_if_none(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.same(f.pop(), None) != ins.name.endswith("NOT_NONE"):
        f.conditional(arg, ins)


@handles("JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP")
def _jump_or_pop(f: Frame, arg: int, ins: Instruction) -> None:
    if f.domain.truth(f.stack[-1]) == ("TRUE" in ins.name):
        f.conditional(arg, ins)
    else:
        f.pop()


# ---- ends
@handles("RETURN_VALUE")
def _return(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.pop()


@handles("RETURN_CONST")
def _return_const(f: Frame, arg: int, ins: Instruction) -> None:
    f.result = f.code.consts[arg]
