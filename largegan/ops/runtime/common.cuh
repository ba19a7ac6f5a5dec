// What all kernels share. It includes nothing, so NVRTC, nvcc and, on a CPU, g++ with the emulator
// of tests/ops/emulator take the same text.
//
//   KIND    elements in memory: 0 float32, 1 float16, 2 bfloat16; arithmetic is in float32
//   VECTOR  elements a thread reads and writes at once: 16 bytes of them, or 1
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;

#define INLINE static __device__ __forceinline__

#ifndef EMULATED
#define DYNAMIC_SHARED extern __shared__  // DYNAMIC_SHARED float shared[];
#define BY_VALUE const __grid_constant__  // kernel(BY_VALUE Params p): never copied to local memory

INLINE float half_to_float(u16 h) { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h)); return f; }
INLINE u16 float_to_half(float f) { u16 h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h; }
INLINE u16 float_to_bfloat(float f) { u16 h; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f)); return h; }
#endif

#if KIND == 0
typedef float T;
INLINE float to_float(T v) { return v; }
INLINE T from_float(float v) { return v; }
#elif KIND == 1
typedef u16 T;
INLINE float to_float(T v) { return half_to_float(v); }
INLINE T from_float(float v) { return float_to_half(v); }
#else
typedef u16 T;
INLINE float to_float(T v) { return __uint_as_float((u32)v << 16); }
INLINE T from_float(float v) { return float_to_bfloat(v); }
#endif

// The number that is left of v in memory.
INLINE float rounded(float v) { return to_float(from_float(v)); }

// Memory that no thread of the launch writes, by its own instruction: the compiler loses track of
// which memory it is where loads are conditional, and would look for it at run time.
template <typename V> INLINE V read_only(const void* p) {
#ifdef EMULATED
    return *(const V*)p;
#else
    static_assert(sizeof(V) == 16 || sizeof(V) == 4 || sizeof(V) == 2 || sizeof(V) == 1, "a word");
    union { V value; uint4 four; u32 one; u16 half; u8 byte; } word;
    if (sizeof(V) == 16) word.four = __ldg((const uint4*)p);
    if (sizeof(V) == 4) word.one = __ldg((const u32*)p);
    if (sizeof(V) == 2) word.half = __ldg((const u16*)p);
    if (sizeof(V) == 1) word.byte = __ldg((const u8*)p);
    return word.value;
#endif
}

#ifdef VECTOR
// VECTOR elements as one word of memory: registers between a load and its use.
#if VECTOR == 1
typedef T Word;
INLINE void unpack(const Word& w, float* v) { v[0] = to_float(w); }
INLINE Word pack(const float* v) { return from_float(v[0]); }
#else
static_assert(VECTOR * sizeof(T) == 16, "a word is 16 bytes");
struct alignas(16) Word { u32 part[4]; };

INLINE void unpack(const Word& w, float* v) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
#if KIND == 0
        v[i] = __uint_as_float(w.part[i]);
#else
        v[2 * i] = to_float((T)(w.part[i] & 0xffffu));
        v[2 * i + 1] = to_float((T)(w.part[i] >> 16));
#endif
    }
}

INLINE Word pack(const float* v) {
    Word w;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#if KIND == 0
        w.part[i] = __float_as_uint(v[i]);
#else
        w.part[i] = (u32)from_float(v[2 * i]) | ((u32)from_float(v[2 * i + 1]) << 16);
#endif
    }
    return w;
}
#endif

// Of what no thread of the launch writes.
INLINE Word load(const T* p) { return read_only<Word>(p); }
INLINE void store(T* p, const float* v) { *(Word*)p = pack(v); }

// Two bits an element tell where an activation was: bit 0 below zero, bit 1 clamped. Those of a
// word lie together; without words every element has a byte.
#if VECTOR == 8
typedef u16 Bits;
#else
typedef u8 Bits;
#endif
#endif

// Sums v[COUNT] over threadIdx.y, always in the same order: threadIdx.y == 0 has the result.
// Takes 4 * COUNT bytes of dynamic shared memory a thread; every thread of the block must come.
template <int COUNT>
INLINE void sum_over_y(float* v) {
    DYNAMIC_SHARED float shared[];
    const int stride = blockDim.x * blockDim.y;
    float* mine = shared + threadIdx.y * blockDim.x + threadIdx.x;
    for (int i = 0; i < COUNT; i++) mine[i * stride] = v[i];
    int rows = blockDim.y;
    while (rows > 1) {
        const int half = (rows + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < rows)
            for (int i = 0; i < COUNT; i++) mine[i * stride] += mine[i * stride + half * blockDim.x];
        rows = half;
    }
    for (int i = 0; i < COUNT; i++) v[i] = mine[i * stride];
    __syncthreads();  // shared is free again
}
