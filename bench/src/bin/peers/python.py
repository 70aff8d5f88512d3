# CPython's manager, and clients of it that do what ours do: the same protocol with whoever started them.
import json
import multiprocessing
import queue
import sys
import threading
import time
from multiprocessing.managers import AcquirerProxy, BaseProxy, DictProxy, SyncManager

AUTHKEY = b"the authkey of measurements"
KEYS = 16
VALUE = "x" * 32


class QueueProxy(BaseProxy):
    def put(self, item):
        return self._callmethod("put", (item,))

    def get(self):
        return self._callmethod("get")


class Objects(SyncManager):
    pass


OBJECTS = {"mixed": {}, "lock": threading.Lock(), "there": queue.Queue()}
# Without a method-to-typeid look-up at each use: the proxies are as CPython has them.
Objects.register("mixed", callable=lambda: OBJECTS["mixed"], proxytype=DictProxy)
Objects.register("lock", callable=lambda: OBJECTS["lock"], proxytype=AcquirerProxy)
Objects.register("there", callable=lambda: OBJECTS["there"], proxytype=QueueProxy)


def serve():
    server = Objects(("127.0.0.1", 0), AUTHKEY).get_server()
    print("%s:%d" % server.address, flush=True)
    server.serve_forever()


def square(x):
    return x * x


def start():
    print("ready", flush=True)
    sys.stdin.readline()


def finish(sample):
    print(json.dumps(sample), flush=True)
    sys.stdin.readline()


def repeat(step, seconds):
    """A round to warm up, and the one that counts; each step is timed."""

    def until(end):
        took = []
        while True:
            began = time.perf_counter()
            if began >= end:
                return took
            step(len(took))
            took.append(time.perf_counter() - began)

    start()
    warm = until(time.perf_counter() + seconds / 5)
    began = time.perf_counter()
    took = until(began + seconds)
    seconds = time.perf_counter() - began
    count = len(took)
    p50 = sorted(took)[count // 2] * 1e6
    finish({"operations": count, "seconds": seconds, "all": count + len(warm), "p50": p50})


def pool(work, count):
    works = {
        "pool-apply": lambda pool: [pool.apply(square, (x,)) for x in range(count)],
        "pool-apply-async": lambda pool: [
            r.get() for r in [pool.apply_async(square, (x,)) for x in range(count)]
        ],
        "pool-chunk1": lambda pool: pool.map(square, range(count), chunksize=1),
        "pool-auto": lambda pool: pool.map(square, range(count)),
    }
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(square, range(1000), chunksize=1)
        start()
        began = time.perf_counter()
        works[work](pool)
        seconds = time.perf_counter() - began
        finish({"operations": count, "seconds": seconds, "all": count})


def client(work, address, seconds, count, rank):
    if work.startswith("pool-"):
        return pool(work, count)
    host, port = address.split(":")
    manager = Objects((host, int(port)), AUTHKEY)
    manager.connect()
    if work == "tasks":
        mixed = manager.mixed()
        first = rank * KEYS

        def step(n):
            key = first + n % KEYS // 2
            if n % 2 == 0:
                mixed[key] = VALUE
            else:
                mixed.get(key)

    elif work == "lock-pair":
        lock = manager.lock()

        def step(n):
            lock.acquire()
            lock.release()

    elif work == "queue-pair":
        there = manager.there()

        def step(n):
            there.put(n)
            there.get()

    else:
        raise SystemExit("CPython's client does no " + work)
    repeat(step, seconds)


if sys.argv[1] == "serve":
    serve()
else:
    client(sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
