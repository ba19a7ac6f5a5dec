// y = clamp(leaky(x + bias) * gain), or with GRAD its backward pass y = slope * x from the result,
// with the sums of y over everything but channels.
//
// Memory is [images, rows, columns]. PLANES 0: columns are channels. 1: an image is one channel,
// `columns` = VECTOR elements of it stand side by side.
#include "common.cuh"

#define ROWS 4  // that a thread has under way

struct Params {
    const T* x;
    T* y;
    const T* result;
    const float* bias;  // [channels], may be null
    float* sums;        // [chunks, images * columns], null: not wanted
    i64 rows;
    int images, columns, channels, repeat;
    float alpha, gain, clamp;  // clamp < 0: none
};

INLINE void leaky(float* v, const float* bias, const Params& p) {
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        v[i] += bias[i];
        v[i] *= v[i] > 0 ? p.gain : p.alpha * p.gain;
        if (p.clamp >= 0 && (v[i] >= p.clamp || v[i] <= -p.clamp))
            v[i] = v[i] > 0 ? p.clamp : -p.clamp;
    }
}

INLINE void times_slope(float* v, const float* result, const Params& p) {
    const float edge = rounded(p.clamp);
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        v[i] *= result[i] > 0 ? p.gain : p.alpha * p.gain;
        if (p.clamp >= 0 && (result[i] >= edge || result[i] <= -edge)) v[i] = 0;
    }
}

INLINE void rows_of(i64 base, i64 row, const float* bias, float* sums, const Params& p) {
    Word x[ROWS], result[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const i64 element = base + (row + r * (i64)blockDim.y) * p.columns;
        if (row + r * (i64)blockDim.y >= p.rows) continue;
        x[r] = load(p.x + element);
        if (GRAD) result[r] = load(p.result + element);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const i64 element = base + (row + r * (i64)blockDim.y) * p.columns;
        if (row + r * (i64)blockDim.y >= p.rows) continue;
        float v[VECTOR], y[VECTOR];
        unpack(x[r], v);
        if (GRAD) unpack(result[r], y);
        if (GRAD) times_slope(v, y, p);
        else leaky(v, bias, p);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) sums[i] += v[i];
        store(p.y + element, v);
    }
}

INLINE void write_sums(float* sums, int n, int c, const Params& p) {
    sum_over_y<VECTOR>(sums);
    if (threadIdx.y || c >= p.columns) return;
    for (int i = 0; i < VECTOR; i++)
        p.sums[((i64)blockIdx.x * p.images + n) * p.columns + c + i] = sums[i];
}

extern "C" __global__ void __launch_bounds__(256) kernel(BY_VALUE Params p) {
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * VECTOR;
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        float bias[VECTOR] = {}, sums[VECTOR] = {};
        if (p.bias && c < p.columns)
#pragma unroll
            for (int i = 0; i < VECTOR; i++) bias[i] = p.bias[PLANES ? n % p.channels : c + i];
        const i64 base = n * p.rows * p.columns + c, step = (i64)blockDim.y * ROWS;
        for (int r = 0; r < p.repeat; r++) {
            const i64 row = (blockIdx.x * (i64)p.repeat + r) * step + threadIdx.y;
            if (row < p.rows && c < p.columns) rows_of(base, row, bias, sums, p);
        }
        if (GRAD && p.sums) write_sums(sums, n, c, p);
    }
}
