// y = x * s for every image and channel, and with GRAD in the same pass the sums of x * other over
// the pixels, which is the gradient of s when x is that of the result and `other` the input.
//
// Memory is [images, rows, columns]. PLANES 0: columns are channels. 1: an image is one channel,
// `columns` = VECTOR elements of it stand side by side.
#include "common.cuh"

#define ROWS 4  // that a thread has under way

struct Params {
    const T* x;
    T* y;
    const T* other;
    const float* s;  // [images, PLANES ? 1 : columns]
    float* sums;     // [chunks, images * columns]
    i64 rows;
    int images, columns, repeat;
};

INLINE void rows_of(i64 base, i64 row, const float* s, float* sums, const Params& p) {
    Word x[ROWS], other[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const i64 element = base + (row + r * (i64)blockDim.y) * p.columns;
        if (row + r * (i64)blockDim.y >= p.rows) continue;
        x[r] = load(p.x + element);
        if (GRAD) other[r] = load(p.other + element);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const i64 element = base + (row + r * (i64)blockDim.y) * p.columns;
        if (row + r * (i64)blockDim.y >= p.rows) continue;
        float v[VECTOR], w[VECTOR];
        unpack(x[r], v);
        if (GRAD) unpack(other[r], w);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            if (GRAD) sums[i] += v[i] * w[i];
            v[i] *= s[i];
        }
        store(p.y + element, v);
    }
}

extern "C" __global__ void __launch_bounds__(256) kernel(BY_VALUE Params p) {
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * VECTOR;
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        float s[VECTOR] = {}, sums[VECTOR] = {};
        if (c < p.columns)
#pragma unroll
            for (int i = 0; i < VECTOR; i++) s[i] = PLANES ? p.s[n] : p.s[(i64)n * p.columns + c + i];
        const i64 base = n * p.rows * p.columns + c, step = (i64)blockDim.y * ROWS;
        for (int r = 0; r < p.repeat; r++) {
            const i64 row = (blockIdx.x * (i64)p.repeat + r) * step + threadIdx.y;
            if (row < p.rows && c < p.columns) rows_of(base, row, s, sums, p);
        }
        if (!GRAD) continue;
        sum_over_y<VECTOR>(sums);
        if (threadIdx.y == 0 && c < p.columns)
            for (int i = 0; i < VECTOR; i++)
                p.sums[((i64)blockIdx.x * p.images + n) * p.columns + c + i] = sums[i];
    }
}
