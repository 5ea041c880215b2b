"""The plain mean over expressions, as MeViS scores."""

from rvos.score.protocols.protocol import Protocol


class Expressions(Protocol):
    """`expressions`: the plain mean over expressions (MeViS, tools/eval_mevis.py)."""

    name = "expressions"
    text = "all frames of all expressions or objects; MeViS"


class MevisScript(Expressions):
    """`expressions:strict`: MeViS, tools/eval_mevis.py, lines 29 to 36.

    The worker that finds no first frame of an expression ends with its error, and the expression is
    in no mean. VISA's and VIRST's eval_davis17.py and VIRST's eval_rvos.py are copies of it.
    """

    name = "expressions:strict"
    quirk = "a missing video counts 0; a missing expression is left out"
    missing = "left out"
    missing_video = "zero"


class LmmsEval(Expressions):
    """`expressions:lmms-eval`: lmms_eval/tasks/rvos/eval_sam2.py, lines 398 to 405.

    A record that fails is dropped. VideoSEG-O3's eval_mevis.py and eval_davis.py leave out what is
    not in the results, too: the worker ends with a KeyError.
    """

    name = "expressions:lmms-eval"
    quirk = "what is missing is left out"
    missing = "left out"
