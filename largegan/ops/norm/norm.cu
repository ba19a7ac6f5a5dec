// Normalization with a gain and a bias for every channel, or for every image and channel, and a
// leaky activation behind it:
//
//     y = act((x - mean) * rsqrt(variance + eps) * gamma + beta),   act(h) = h > 0 ? h : alpha * h
//
//   PLANES  1: [N, C, H, W], a thread reads VECTOR pixels of a channel at once
//           0: [N, H, W, C], a thread reads VECTOR channels of a pixel at once
//   STAGE   forward:  0 partial sums of x, 1 mean and variance from them, 2 y
//           backward: 3 partial sums of dy, 4 gradients of gamma and beta, 5 dx
#include "common.cuh"

#define MOMENTS 0
#define STATISTICS 1
#define NORMALIZE 2
#define GRADIENT_SUMS 3
#define GRADIENTS 4
#define GRADIENT_X 5

struct Params {
    const T* x;
    const T* dy;
    T* y;                // y or dx
    const float* gamma;  // [C] or [N, C]; null: ones
    const float* beta;   // likewise; null: zeros
    float* mean;         // [N or 1, C]
    float* variance;
    float* sums;         // [N, splits, C, 2]
    float* dgamma;       // [C] or [N, C]; null: nobody asks
    float* dbeta;
    float* spread;       // [N or 1, C, 2]: what dx has of the sums over all of dy
    int images, channels, pixels, splits;
    int gamma_stride;    // from image to image: 0 or C
    int per_image;       // statistics of every image and channel; 0: of every channel
    float eps, alpha;
};

constexpr int LANES = PLANES ? 1 : VECTOR;  // channels of a thread
constexpr int BATCH = 4;                    // words on their way at once
constexpr bool SUMS = STAGE == MOMENTS || STAGE == GRADIENT_SUMS;
constexpr bool READS_DY = STAGE == GRADIENT_SUMS || STAGE == GRADIENT_X;

INLINE i64 statistic(const Params& p, int n, int c) {
    return (p.per_image ? (i64)n * p.channels : 0) + c;
}

// Sums are of x - pivot, some pixel of the same channel: few digits are lost where |mean| >> std.
INLINE float pivot(const Params& p, int n, int c) {
    const i64 image = p.per_image ? n : 0;
    return to_float(p.x[PLANES ? (image * p.channels + c) * p.pixels
                               : image * p.channels * p.pixels + c]);
}

struct Channel {
    float center, scale, shift, slope, offset;
};

INLINE float gain(const Params& p, int n, int c) {
    return p.gamma ? p.gamma[(i64)n * p.gamma_stride + c] : 1.0f;
}

INLINE Channel channel(const Params& p, int n, int c) {
    Channel k;
    const i64 i = statistic(p, n, c);
    k.center = STAGE == MOMENTS ? pivot(p, n, c) : p.mean[i];
    if (STAGE != MOMENTS) {
        k.scale = rsqrtf(p.variance[i] + p.eps) * gain(p, n, c);
        k.shift = p.beta ? p.beta[(i64)n * p.gamma_stride + c] : 0.0f;
    }
    if (STAGE == GRADIENT_X) {
        k.offset = p.spread[2 * i];
        k.slope = p.spread[2 * i + 1];
    }
    return k;
}

// One element: what goes to memory, or to the sums.
INLINE float work(float x, float dy, const Channel& k, float alpha, float* sums) {
    const float v = x - k.center;
    if (STAGE == MOMENTS) {
        sums[0] += v;
        sums[1] += v * v;
        return 0;
    }
    const float h = fmaf(v, k.scale, k.shift);
    if (STAGE == NORMALIZE) {
        // Zero times infinity is no number; what is none already stays so.
        if (h > 0) return h;
        return alpha == 0 && h == h ? 0.0f : alpha * h;
    }
    const float g = h > 0 ? dy : alpha * dy;
    if (STAGE == GRADIENT_SUMS) {
        sums[0] += g;
        sums[1] += g * v;
        return 0;
    }
    return fmaf(g, k.scale, fmaf(v, k.slope, k.offset));
}

INLINE void work_on_word(i64 at, const Word& wx, const Word& wdy, const Channel* channels,
                         float* sums, const Params& p) {
    float x[VECTOR], dy[VECTOR];
    unpack(wx, x);
    if (READS_DY) unpack(wdy, dy);
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        const int lane = PLANES ? 0 : i;
        x[i] = work(x[i], READS_DY ? dy[i] : 0.0f, channels[lane], p.alpha, sums + 2 * lane);
    }
    if (!SUMS) store(p.y + at, x);
}

// The words of an image that this thread has, every `step`-th.
INLINE void work_on_image(int n, int c, float* sums, const Params& p) {
    const int words = PLANES ? p.pixels / VECTOR : p.pixels;
    const int stride = PLANES ? VECTOR : p.channels, step = gridDim.y * blockDim.y;
    const i64 base = PLANES ? ((i64)n * p.channels + c) * p.pixels
                            : (i64)n * p.channels * p.pixels + c;
    Channel channels[LANES];
#pragma unroll
    for (int i = 0; i < LANES; i++) channels[i] = channel(p, n, c + i);
    for (i64 first = blockIdx.y * blockDim.y + threadIdx.y; first < words; first += BATCH * step) {
        Word x[BATCH], dy[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const i64 at = base + (first + k * (i64)step) * stride;
            if (first + k * (i64)step >= words) break;
            x[k] = load(p.x + at);
            if (READS_DY) dy[k] = load(p.dy + at);
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const i64 at = base + (first + k * (i64)step) * stride;
            if (first + k * (i64)step >= words) break;
            work_on_word(at, x[k], dy[k], channels, sums, p);
        }
    }
}

INLINE void over_pixels(const Params& p) {
    const int c = (blockIdx.x * blockDim.x + threadIdx.x) * LANES;
    const bool inside = c < p.channels;
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        float sums[2 * LANES] = {};
        if (inside) work_on_image(n, c, sums, p);
        if (!SUMS) continue;
        sum_over_y<2 * LANES>(sums);
        if (!inside || threadIdx.y) continue;
        float* const out = p.sums + (((i64)n * p.splits + blockIdx.y) * p.channels + c) * 2;
        for (int i = 0; i < 2 * LANES; i++) out[i] = sums[i];
    }
}

INLINE void write_statistics(const float* sums, int n, int c, const Params& p) {
    const float count = (float)p.pixels * (p.per_image ? 1 : p.images);
    const float mean = sums[0] / count, variance = sums[1] / count - mean * mean;
    p.mean[statistic(p, n, c)] = pivot(p, n, c) + mean;
    p.variance[statistic(p, n, c)] = variance < 0 ? 0.0f : variance;
}

// total: sums of dh, dh * (x - mean), and both times gamma, over what the statistics are of.
INLINE void write_spread(const float* total, int n, int c, const Params& p) {
    const i64 i = statistic(p, n, c);
    const float count = (float)p.pixels * (p.per_image ? 1 : p.images);
    const float scale = rsqrtf(p.variance[i] + p.eps);
    p.spread[2 * i] = -scale * total[2] / count;
    p.spread[2 * i + 1] = -scale * scale * scale * total[3] / count;
}

INLINE void write_gradients(const float* total, int n, int c, const Params& p) {
    const i64 i = (i64)n * p.gamma_stride + c;
    if (p.dbeta) p.dbeta[i] = total[0];
    if (p.dgamma) p.dgamma[i] = total[1];
}

// Everything about channel c: images along threadIdx.y, their partial sums one after the other.
INLINE void over_images(const Params& p) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    float all[4] = {};  // of this thread's images: as `one`, with dgamma in place of its sum
    for (int n = threadIdx.y; c < p.channels && n < p.images; n += blockDim.y) {
        float one[4] = {};
        for (int s = 0; s < p.splits; s++) {
            const float* const part = p.sums + (((i64)n * p.splits + s) * p.channels + c) * 2;
            one[0] += part[0];
            one[1] += part[1];
        }
        if (STAGE == GRADIENTS) {
            one[2] = one[0] * gain(p, n, c);
            one[3] = one[1] * gain(p, n, c);
            if (p.per_image) write_spread(one, n, c, p);
            one[1] *= rsqrtf(p.variance[statistic(p, n, c)] + p.eps);
            if (p.gamma_stride) write_gradients(one, n, c, p);
        } else if (p.per_image) {
            write_statistics(one, n, c, p);
        }
        for (int i = 0; i < 4; i++) all[i] += one[i];
    }
    sum_over_y<4>(all);
    if (threadIdx.y || c >= p.channels) return;
    if (STAGE == STATISTICS && !p.per_image) write_statistics(all, 0, c, p);
    if (STAGE == GRADIENTS && !p.per_image) write_spread(all, 0, c, p);
    if (STAGE == GRADIENTS && !p.gamma_stride) write_gradients(all, 0, c, p);
}

extern "C" __global__ void __launch_bounds__(STAGE == STATISTICS || STAGE == GRADIENTS ? 1024 : 256)
kernel(BY_VALUE Params p) {
    if (STAGE == STATISTICS || STAGE == GRADIENTS)
        over_images(p);
    else
        over_pixels(p);
}
