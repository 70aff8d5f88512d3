# The same work as the other side's, with multiprocessing.Pool (fork). Prints tasks per second.
import multiprocessing
import sys
import time


def square(x):
    return x * x


def rate(count, work):
    began = time.perf_counter()
    work()
    print(count / (time.perf_counter() - began), flush=True)


def main():
    workers, *counts = map(int, sys.argv[1:])
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(square, range(1000), chunksize=1)
        rate(counts[0], lambda: pool.map(square, range(counts[0])))
        rate(counts[1], lambda: pool.map(square, range(counts[1]), chunksize=1))
        rate(counts[2], lambda: [r.get() for r in [pool.apply_async(square, (x,)) for x in range(counts[2])]])
        rate(counts[3], lambda: [pool.apply(square, (x,)) for x in range(counts[3])])


main()
