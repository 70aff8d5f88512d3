"""Executes the Python code of docs/from-python.md, in one process.

Reads JSON from stdin: what comes first, and sections with what their names are those of, what comes before each
line, and the lines. Answers in JSON what each line gave, and the public names of each subject.
"""

import ast
import json
import multiprocessing
import signal
import sys
import traceback
import types
import warnings

TIMEOUT = 600  # seconds


def plain(value):
    """A value as JSON has it."""
    if isinstance(value, (bytes, bytearray)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple, range)):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {str(key): plain(element) for key, element in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a line of the page gives {value!r}, which JSON has not")


def run(code, scope):
    """What the last expression gives."""
    body = ast.parse(code).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<page>", "exec"), scope)
    return eval(compile(ast.Expression(last.value), "<page>", "eval"), scope) if last else None


def outcome(setup, code):
    # Functions that are sent to processes are found by their names in this module.
    scope = globals()
    before = dict(scope)
    try:
        run(setup, scope)
        return {"value": plain(run(code, scope))}
    except Exception as error:
        return {"error": type(error).__name__, "details": traceback.format_exc()}
    finally:
        scope.clear()
        scope.update(before)


def names(subject):
    """The names of a module or a class, or of an object of one, and which of them are public."""
    value = eval(subject, globals())
    if isinstance(value, types.ModuleType):
        return {"public": value.__all__, "all": dir(value)}
    exposed = getattr(value, "_exposed_", None) or ()
    public = {name for name in dir(value) if not name.startswith("_")}
    return {"public": sorted(public.union(exposed) - {"__class_getitem__", "__getattribute__"}), "all": dir(value)}


def main():
    warnings.simplefilter("ignore")
    # A line that waits for ever ends all of it.
    signal.alarm(TIMEOUT)
    multiprocessing.set_start_method("fork")
    page = json.load(sys.stdin)
    exec(page["preamble"], globals())
    lines, subjects = {}, {}
    for section in page["sections"]:
        for subject in section["subjects"]:
            subjects[subject] = names(subject)
        for line, code in section["lines"]:
            lines[line] = outcome(section["setup"], code)
    pool.terminate()
    manager.shutdown()
    json.dump({"lines": lines, "subjects": subjects}, sys.stdout)


main()
