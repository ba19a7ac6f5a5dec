// Runs CUDA C++ on a CPU: every thread of a block is a fiber, which __syncthreads leaves and comes
// back to. The kernel's file is included below; `emulate` is its launch.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#define EMULATED
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __shared__ static
#define DYNAMIC_SHARED extern
#define BY_VALUE const

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t __float_as_uint(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float v) { return 1 / std::sqrt(v); }
static inline float half_to_float(uint16_t h) { _Float16 v; memcpy(&v, &h, 2); return (float)v; }
static inline uint16_t float_to_half(float f) {
    const _Float16 v = (_Float16)f;
    uint16_t h;
    memcpy(&h, &v, 2);
    return h;
}
static inline uint16_t float_to_bfloat(float f) {
    const uint32_t u = __float_as_uint(f);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
template <class V> static inline V min(V a, V b) { return b < a ? b : a; }
template <class V> static inline V max(V a, V b) { return a < b ? b : a; }

alignas(16) float shared[232448 / 4];  // what a block may have on an H100, as float32

namespace emulator {
struct Fiber { ucontext_t context; std::vector<char> stack; Index thread; bool running; };
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static int current;
static char exchange[1024][16];  // of the shuffles
static void (*body)();

static void run() {
    body();
    fibers[current].running = false;
}

static void leave() {  // the next thread goes on; this one when all others have left or ended
    const int me = current;
    swapcontext(&fibers[me].context, &scheduler);
}

static void block() {
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    if ((int)fibers.size() < threads) fibers.resize(threads);
    for (int i = 0; i < threads; i++) {
        Fiber& f = fibers[i];
        if (f.stack.empty()) f.stack.resize(128 << 10);
        f.running = true;
        f.thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.data();
        f.context.uc_stack.ss_size = f.stack.size();
        f.context.uc_link = &scheduler;
        makecontext(&f.context, run, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (current = 0; current < threads; current++) {
            if (!fibers[current].running) continue;
            threadIdx = fibers[current].thread;
            swapcontext(&scheduler, &fibers[current].context);
            any = true;
        }
    }
}
}  // namespace emulator

static inline void __syncthreads() { emulator::leave(); }
static inline void __syncwarp(unsigned = ~0u) { __syncthreads(); }  // all warps of a block together

// Shuffles of a warp whose threads all take part, as all other warps of the block.
template <class V> static inline V __shfl_sync(unsigned, V v, int lane) {
    static_assert(sizeof(V) <= 16, "");
    const int me = emulator::current;
    memcpy(emulator::exchange[me], &v, sizeof v);
    __syncthreads();
    memcpy(&v, emulator::exchange[(me & ~31) | (lane & 31)], sizeof v);
    __syncthreads();
    return v;
}
template <class V> static inline V __shfl_xor_sync(unsigned m, V v, int other) {
    return __shfl_sync(m, v, (emulator::current & 31) ^ other);
}
template <class V> static inline V __shfl_down_sync(unsigned m, V v, int by) {
    const int lane = emulator::current & 31;
    return __shfl_sync(m, v, lane + by < 32 ? lane + by : lane);
}

#include SOURCE  // defines Params and kernel

static Params parameters;

extern "C" int params_size() { return (int)sizeof(Params); }

// Runs the blocks from `first` up to `end` (x, y, z) of the grid.
extern "C" void emulate(const void* params, const unsigned* grid, const unsigned* block,
                        const unsigned* first, const unsigned* end) {
    memcpy(&parameters, params, sizeof parameters);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    emulator::body = [] { kernel(parameters); };
    for (unsigned z = first[2]; z < end[2]; z++)
        for (unsigned y = first[1]; y < end[1]; y++)
            for (unsigned x = first[0]; x < end[0]; x++) {
                blockIdx = {x, y, z};
                memset(shared, 0xff, sizeof shared);  // NaN: what a block finds is not its own
                emulator::block();
            }
}
