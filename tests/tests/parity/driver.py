"""Runs scripts of calls on the shared objects of CPython's own SyncManager.

Scenarios come in on stdin, as JSON; what every step gave goes out on stdout, with the methods that
Python's objects have. Only forwarding is added: types that SyncManager does not register, and
methods that its proxies leave out.
"""

import array
import faulthandler
import functools
import json
import multiprocessing
import multiprocessing.connection
import queue
import sys
import threading
import time
from multiprocessing import managers

# A call that takes so long hangs: the stacks of all threads go to stderr.
PATIENCE_SECONDS = 120
AUTHKEY = b"the tests' authkey"

LOCK = type(threading.Lock())
RLOCK = type(threading.RLock())


class Plain:
    """Has what every type has."""


# Those, and what is for type checkers and the garbage collector.
PLAIN = {*dir(Plain), "__class_getitem__", "__builtins__", "__del__"}


def methods_of(type_):
    """The names a type has beyond those that every type has."""
    public = (name for name in dir(type_) if name.startswith("__") or not name.startswith("_"))
    return [name for name in public if name not in PLAIN]


def forward(method):
    def call(self, *args, **kwargs):
        return self._callmethod(method, args, kwargs)

    return call


# What had to be registered: kind to methods.
REGISTERED = {}


def forwarding(kind, proxy, methods):
    """The proxy type, forwarding these methods as well."""
    missing = [method for method in methods if method not in proxy._exposed_]
    REGISTERED[kind] = missing
    body = {method: forward(method) for method in missing}
    body["_exposed_"] = (*proxy._exposed_, *missing)
    body["__module__"] = __name__
    return type(kind + "Proxy", (proxy,), body)


DICT_OPERATORS = ["__or__", "__ror__", "__ior__", "__reversed__", "fromkeys"]
SET_COMPARISONS = ["__eq__", "__ne__", "__le__", "__lt__", "__ge__", "__gt__"]
LOCKED = ["locked"]
LOCKED_SINCE_3_14 = LOCKED if sys.version_info >= (3, 14) else []

dictProxy = forwarding("dict", managers.DictProxy, DICT_OPERATORS)
listProxy = forwarding("list", managers.ListProxy, ["clear", "copy"])
BaseSetProxy = getattr(managers, "SetProxy", managers.MakeProxyType("BaseSetProxy", ()))
setProxy = forwarding("set", BaseSetProxy, [*methods_of(set), *SET_COMPARISONS])
LockProxy = forwarding("Lock", managers.AcquirerProxy, LOCKED)
RLockProxy = forwarding("RLock", managers.AcquirerProxy, LOCKED_SINCE_3_14)
ConditionProxy = forwarding("Condition", managers.ConditionProxy, LOCKED_SINCE_3_14)


class SemaphoreProxy(managers.AcquirerProxy):
    """The stock proxy takes no number of permits."""

    def release(self, n=1):
        return self._callmethod("release", (n,))


# Each kind's proxy, and the type that it stands for. Who registers neither is SyncManager's.
KINDS = {
    "dict": (dictProxy, dict),
    "list": (listProxy, list),
    "set": (setProxy, set),
    "Namespace": (managers.NamespaceProxy, None),
    "Value": (managers.ValueProxy, None),
    "Array": (managers.ArrayProxy, None),
    "Lock": (LockProxy, LOCK),
    "RLock": (RLockProxy, RLOCK),
    "Semaphore": (SemaphoreProxy, threading.Semaphore),
    "BoundedSemaphore": (SemaphoreProxy, threading.BoundedSemaphore),
    "Condition": (ConditionProxy, threading.Condition),
    "Event": (managers.EventProxy, threading.Event),
    "Barrier": (managers.BarrierProxy, threading.Barrier),
    "Queue": (None, queue.Queue),
    "LifoQueue": (None, queue.LifoQueue),
    "PriorityQueue": (None, queue.PriorityQueue),
    "JoinableQueue": (None, queue.Queue),
    "Pipe": (None, multiprocessing.connection.Connection),
    "Manager": (None, managers.SyncManager),
}


class ParityManager(managers.SyncManager):
    """A SyncManager with every kind registered."""


for kind, (proxy, referent) in KINDS.items():
    if kind not in ("Pipe", "Manager") and referent is not None:
        make = {LOCK: threading.Lock, RLOCK: threading.RLock}.get(referent, referent)
        ParityManager.register(kind, make, proxy)


def inventory(kind):
    """The names of everything that a kind can do."""
    proxy, referent = KINDS[kind]
    names = set()
    if proxy is not None:
        names |= {*methods_of(proxy)} - {*dir(managers.BaseProxy)}
        names |= {*proxy._exposed_} - {"__class_getitem__"}
    if referent is not None:
        names |= {*methods_of(referent)}
    if kind == "Manager":
        # `shutdown` is an attribute of started ones only.
        names |= {"shutdown", "_number_of_objects", "_debug_info"}
    return sorted(names)


# Values: JSON, with objects of one entry for what JSON does not have.


def decode(value, objects):
    if isinstance(value, list):
        return [decode(item, objects) for item in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    match tag:
        case "ref":
            return objects[content]
        case "slice":
            return slice(*content)
        case "bytes":
            return content.encode()
        case "buffer":
            return bytearray(content)
        case "array":
            return array.array(*content)
        case "is_set":
            return objects[content].is_set
        case "int":
            # A barrier's action: succeeds or fails as the text is a number or not.
            return functools.partial(int, content)
        case "dict" | "set" | "tuple":
            make = {"dict": dict, "set": set, "tuple": tuple}[tag]
            return make(decode(content, objects))
    raise ValueError(f"unknown tag {tag}")


def split(args):
    """Keyword arguments come last: `{"kw": {"name": value}}`."""
    last = args[-1] if args else None
    has_keywords = isinstance(last, dict) and "kw" in last
    return (args[:-1], last["kw"]) if has_keywords else (args, {})


def encode(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(map(encode, value), key=json.dumps)}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.decode()}
    return [encode(item) for item in value]


# Calls: a method of that name, an attribute, or one of the special ones.

# What evaluates to the whole object, which no caller wants.
IN_PLACE = {"__ior__", "__iand__", "__isub__", "__ixor__"}


def invoke(target, method, args, kwargs):
    special = {
        "__iter__": list,
        "recv_bytes_into": receive_into,
        "_debug_info": lambda manager: manager._debug_info().count("refcount="),
        "address": lambda manager: bool(manager.address),
    }
    if method in special:
        return special[method](target, *args)
    attribute = getattr(target, method)
    result = attribute(*args, **kwargs) if callable(attribute) else attribute
    if result is NotImplemented:
        # The operator would try the other operand's method, in vain, and then say so.
        raise TypeError
    return None if result is target or method in IN_PLACE else result


def receive_into(connection, buffer):
    return bytes(buffer[: connection.recv_bytes_into(buffer)])


def error_name(error, target):
    """The exception's name; for a lost connection, which has many, always the same."""
    lost = isinstance(error, (ConnectionError, EOFError, FileNotFoundError))
    if lost and not isinstance(target, multiprocessing.connection.Connection):
        return "ConnectionError"
    return type(error).__name__


class Worker(threading.Thread):
    """One thread of a scenario: its calls come from the same connection."""

    def __init__(self):
        super().__init__(daemon=True)
        self.calls = queue.SimpleQueue()
        self.outcomes = queue.SimpleQueue()
        self.start()

    def run(self):
        while (call := self.calls.get()) is not None:
            self.outcomes.put(call())


class Scenario:
    def __init__(self, manager):
        self.manager = manager
        self.objects = {}
        self.workers = {}

    def run(self, steps):
        outcomes = [getattr(self, "step_" + step["do"])(step) for step in steps]
        for worker in self.workers.values():
            worker.calls.put(None)
            worker.join()
        return outcomes

    def worker(self, step):
        return self.workers.setdefault(step["thread"], None) or self.start_worker(step["thread"])

    def start_worker(self, name):
        self.workers[name] = Worker()
        return self.workers[name]

    def step_new(self, step):
        kind, args = step["kind"], decode(step["args"], self.objects)
        return self.assign(None, step["names"], lambda: self.make(kind, args))

    def make(self, kind, args):
        match kind:
            case "Manager":
                manager = ParityManager(authkey=AUTHKEY)
                manager.start()
                return manager
            case "connect":
                manager, authkey = (*args, AUTHKEY)[:2]
                return connect(manager.address, authkey)
            case "dict_of_lists":
                return self.manager.dict()
            case "Pipe":
                return multiprocessing.Pipe(*args)
            case _:
                return getattr(self.manager, kind)(*args)

    def assign(self, target, names, call):
        try:
            result = call()
        except Exception as error:
            return {"error": error_name(error, target)}
        results = [result] if len(names) == 1 else result
        self.objects.update(zip(names, results))
        return {"ok": None}

    def step_call(self, step):
        if step["thread"] is None:
            return self.call(step)
        worker = self.worker(step)
        worker.calls.put(lambda: self.call(step))
        return {"ok": None} if step["begin"] else worker.outcomes.get()

    def step_finish(self, step):
        return self.worker(step).outcomes.get()

    def call(self, step):
        target = self.objects[step["object"]]
        args, kwargs = split(step["args"])
        args = decode(args, self.objects)
        call = functools.partial(invoke, target, step["method"], args, kwargs)
        if step["names"]:
            return self.assign(target, step["names"], call)
        try:
            return {"ok": encode(call())}
        except Exception as error:
            return {"error": error_name(error, target)}

    def step_until(self, step):
        """Calls until the outcome is the one that is waited for."""
        while (outcome := self.call(step)) != {"ok": step["value"]}:
            time.sleep(0.001)
        return outcome

    def step_del(self, step):
        del self.objects[step["name"]]
        return {"ok": None}


def connect(address, authkey):
    manager = ParityManager(address, authkey if isinstance(authkey, bytes) else authkey.encode())
    manager.connect()
    return manager


def main():
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True)
    scenarios = json.load(sys.stdin)
    # Proxies that come back out of shared objects prove the process's own key.
    multiprocessing.current_process().authkey = AUTHKEY
    with ParityManager(authkey=AUTHKEY) as manager:
        outcomes = [Scenario(manager).run(steps) for steps in scenarios]
    methods = {kind: inventory(kind) for kind in KINDS}
    json.dump({"outcomes": outcomes, "methods": methods, "registered": REGISTERED}, sys.stdout)


if __name__ == "__main__":
    main()
