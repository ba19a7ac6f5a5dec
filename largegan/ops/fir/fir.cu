// FIR resampling with what stands before and behind it in a network, in one pass over memory:
//
//     y = after(down(filter(up(pad(before(x))))))
//
// `before` and `after` are either an activation (bias, leaky ReLU, gain, clamp; behind the filter
// also a scale and noise) or its slope, read from what the activation left: two bits an element,
// or its result. The adjoint of "filter, then slope" is "slope, then filter", so that this file is
// forward, backward and double backward of upfirdn2d, fir_act and act_fir.
//
//   PLANES           1: [N, C, H, W], every channel an image; 0: [N, H, W, C], VECTOR at a time
//   UX UY DX DY      factors        KX KY  taps        SEPARABLE  fx times fy, or rows of KX
//   PHASE_X PHASE_Y  the padding in front is p.left * UX + PHASE_X, 0 <= PHASE_X < UX
//   SX SY            a thread makes a strip of SX * SY pixels, VECTOR channels of each
//   UNROLL           1: short filters, all indices known to the compiler
//   BEFORE AFTER     sums of the flags below     WIDE  1: images of more than 2^31 elements
#include "common.cuh"

#define BEFORE_BIAS 1
#define BEFORE_ACT 2
#define BEFORE_CLAMP 4     // with ACT or RESULT
#define BEFORE_KEEP 8      // write the bits
#define BEFORE_BITS 16     // times the slope, from bits
#define BEFORE_RESULT 32   // times the slope, from the activation's result
#define BEFORE_SCALE 64
#define BEFORE_SUMS 128    // sums over pixels, of what a backward pass needs

#define AFTER_SCALE 1
#define AFTER_NOISE 2
#define AFTER_BIAS 4
#define AFTER_ACT 8
#define AFTER_CLAMP 16     // with ACT or RESULT
#define AFTER_KEEP 32
#define AFTER_BITS 64
#define AFTER_RESULT 128
#define AFTER_SUMS 256

#if WIDE
typedef i64 Offset;
#else
typedef int Offset;
#endif

struct Params {
    const T* x;
    T* y;
    const T* result;        // in the place of x (before) or y (after)
    u8* bits;               // likewise
    const float* scale;     // [N, C]
    const float* noise;     // [1 or N, height, width] of y (after) or x (before)
    const float* strength;  // of the noise, one number
    const float* bias;      // [C]
    float* sums;
    i64 noise_stride;       // from image to image; 0: one map for all
    int images;             // N, or N * C planes
    int channels, height, width, out_height, out_width;
    int left, top;
    int first_x, first_y, strips_x, strips_y;  // of strips; below 0: what no output reads
    int tile_x, tiles_x;    // a block makes tile_x strips side by side, in rows; tiles of an image
    int repeat;             // tiles of a block
    float alpha, gain, clamp;
    float taps[SEPARABLE ? KX + KY : KX * KY];  // as a correlation; fx, then fy
};

static_assert(SX * DX % UX == 0 && SY * DY % UY == 0, "strips begin at the same phase");

// Output j of a strip meets samples at(j), at(j) + 1, ... with taps first(j), first(j) + U, ...
__device__ constexpr int first(int j, int d, int u, int phase) {
    return ((phase - j * d) % u + u) % u;
}
__device__ constexpr int at(int j, int d, int u, int phase) {
    return (j * d + first(j, d, u, phase) - phase) / u;
}
__device__ constexpr int count(int j, int d, int u, int phase, int k) {
    return k > first(j, d, u, phase) ? (k - first(j, d, u, phase) + u - 1) / u : 0;
}
__device__ constexpr int lowest(int s, int d, int u, int phase) {
    int low = at(0, d, u, phase);
    for (int j = 1; j < s; j++) low = at(j, d, u, phase) < low ? at(j, d, u, phase) : low;
    return low;
}
__device__ constexpr int span(int s, int d, int u, int phase, int k) {
    int high = lowest(s, d, u, phase);
    for (int j = 0; j < s; j++) {
        const int end = at(j, d, u, phase) + count(j, d, u, phase, k);
        high = end > high ? end : high;
    }
    return high - lowest(s, d, u, phase);
}

constexpr int CHUNK_X = SX * DX / UX, CHUNK_Y = SY * DY / UY;  // samples from strip to strip
constexpr int LOW_X = lowest(SX, DX, UX, PHASE_X), LOW_Y = lowest(SY, DY, UY, PHASE_Y);
constexpr int SPAN_X = span(SX, DX, UX, PHASE_X, KX), SPAN_Y = span(SY, DY, UY, PHASE_Y, KY);
// Every sample belongs to one strip: the first CHUNK of those that this strip reads.
constexpr bool OWNS = (BEFORE & (BEFORE_KEEP | BEFORE_SUMS)) != 0;
constexpr int READ_X = OWNS && SPAN_X < CHUNK_X ? CHUNK_X : SPAN_X;
constexpr int READ_Y = OWNS && SPAN_Y < CHUNK_Y ? CHUNK_Y : SPAN_Y;
constexpr int BATCH = UNROLL ? READ_Y : 1;  // loads under way at once
constexpr int SUMS = 2 * VECTOR + 1;

// Where a thread works: image (or plane) n, whose first elements are `in` and `out`, from element c
// of each pixel on, which is channel `channel` of image `image`.
struct Place {
    i64 in, out;
    int n, c, image, channel;
    const float* noise;
    float strength;
};

INLINE int pixel(const Params& p) { return PLANES ? 1 : p.channels; }  // elements of one

INLINE float slope(u32 bits, const Params& p) {
    return bits & 2u ? 0.0f : bits & 1u ? p.alpha * p.gain : p.gain;
}

INLINE u32 bits_of_result(const float* v, const Params& p, bool clamps) {
    const float edge = rounded(p.clamp);  // what clamping left in memory
    u32 bits = 0;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (!(v[i] > 0)) bits |= 1u << (2 * i);
        if (clamps && (v[i] >= edge || v[i] <= -edge)) bits |= 2u << (2 * i);
    }
    return bits;
}

INLINE void multiply_by_slope(float* v, u32 bits, const Params& p) {
#pragma unroll
    for (int i = 0; i < VECTOR; i++) v[i] *= slope(bits >> (2 * i), p);
}

// NaN stays NaN, and is not taken for clamped.
INLINE u32 activate(float* v, const Params& p, bool clamps) {
    u32 bits = 0;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (!(v[i] > 0)) {
            v[i] *= p.alpha;
            bits |= 1u << (2 * i);
        }
        v[i] *= p.gain;
        if (clamps && (v[i] >= p.clamp || v[i] <= -p.clamp)) {
            v[i] = v[i] > 0 ? p.clamp : -p.clamp;
            bits |= 2u << (2 * i);
        }
    }
    return bits;
}

// sums of dy * dz/dy (bias), of dz times z without noise and bias (scale), of dz times noise.
INLINE void add_sums(float* sums, const float* dy, const float* dz, const float* result,
                     u32 bits, const float* bias, float noise, float strength) {
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        sums[i] += dz[i];
        if (BEFORE & BEFORE_RESULT) {
            const float z = bits & (2u << (2 * i)) ? 0.0f : dy[i] * result[i];  // slope * z = y
            sums[VECTOR + i] += z - dz[i] * (strength * noise + bias[i]);
        }
        sums[2 * VECTOR] += dz[i] * noise;
    }
}

INLINE void before(float* v, Offset offset, int iy, int ix, bool owned, const Place& place,
                   const float* bias, const float* scale, float* sums, const Params& p) {
    const i64 element = place.in + offset;
    Bits* const kept = (Bits*)p.bits + element / VECTOR;
    u32 bits = 0;
    float result[VECTOR];
    if (BEFORE & BEFORE_BIAS)
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] += bias[i];
    if (BEFORE & BEFORE_ACT) bits = activate(v, p, BEFORE & BEFORE_CLAMP);
    if ((BEFORE & BEFORE_KEEP) && owned) *kept = (Bits)bits;
    if (BEFORE & BEFORE_BITS) bits = *kept;
    if (BEFORE & BEFORE_RESULT) {
        unpack(load(p.result + element), result);
        bits = bits_of_result(result, p, BEFORE & BEFORE_CLAMP);
    }
    if (BEFORE & (BEFORE_BITS | BEFORE_RESULT)) {
        float dy[VECTOR];
#pragma unroll
        for (int i = 0; i < VECTOR; i++) dy[i] = v[i];
        multiply_by_slope(v, bits, p);
        if ((BEFORE & BEFORE_SUMS) && owned) {
            const float noise = place.noise ? place.noise[iy * p.width + ix] : 0.0f;
            add_sums(sums, dy, v, result, bits, bias, noise, place.strength);
        }
    }
    if (BEFORE & BEFORE_SCALE)
#pragma unroll
        for (int i = 0; i < VECTOR; i++) v[i] *= scale[i];
}

// acc += the filter's part on the sample v, which is the column s and the row q of those read.
INLINE void filter_sample(float (&acc)[SY][SX][VECTOR], float (&column)[SY][VECTOR],
                          const float* v, int s, int q, const Params& p) {
#pragma unroll
    for (int a = 0; a < SY; a++) {
        const int ty = q - (at(a, DY, UY, PHASE_Y) - LOW_Y);
        if (ty < 0 || ty >= count(a, DY, UY, PHASE_Y, KY)) continue;
        const int ky = first(a, DY, UY, PHASE_Y) + ty * UY;
#if SEPARABLE
        const float f = p.taps[KX + ky];
#pragma unroll
        for (int i = 0; i < VECTOR; i++) column[a][i] += f * v[i];
#else
#pragma unroll
        for (int b = 0; b < SX; b++) {
            const int tx = s - (at(b, DX, UX, PHASE_X) - LOW_X);
            if (tx < 0 || tx >= count(b, DX, UX, PHASE_X, KX)) continue;
            const float f = p.taps[ky * KX + first(b, DX, UX, PHASE_X) + tx * UX];
#pragma unroll
            for (int i = 0; i < VECTOR; i++) acc[a][b][i] += f * v[i];
        }
#endif
    }
}

INLINE void filter_column(float (&acc)[SY][SX][VECTOR], float (&column)[SY][VECTOR], int s,
                          const Params& p) {
#pragma unroll
    for (int b = 0; b < SX; b++) {
        const int tx = s - (at(b, DX, UX, PHASE_X) - LOW_X);
        if (tx < 0 || tx >= count(b, DX, UX, PHASE_X, KX)) continue;
        const float f = p.taps[first(b, DX, UX, PHASE_X) + tx * UX];
#pragma unroll
        for (int a = 0; a < SY; a++)
#pragma unroll
            for (int i = 0; i < VECTOR; i++) acc[a][b][i] += f * column[a][i];
    }
}

INLINE void read_column(float (&acc)[SY][SX][VECTOR], int s, int ix, int iy0, const Place& place,
                        const float* bias, const float* scale, float* sums, const Params& p) {
    const T* const x = p.x + place.in;
    float column[SY][VECTOR] = {};
#pragma unroll (UNROLL ? READ_Y : 1)
    for (int start = 0; start < READ_Y; start += BATCH) {
        Word words[BATCH];
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const int iy = iy0 + start + k;
            if ((unsigned)iy < (unsigned)p.height)
                words[k] = load(x + ((Offset)iy * p.width + ix) * pixel(p) + place.c);
        }
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const int q = start + k, iy = iy0 + q;
            if ((unsigned)iy >= (unsigned)p.height) continue;
            float v[VECTOR];
            unpack(words[k], v);
            const Offset offset = ((Offset)iy * p.width + ix) * pixel(p) + place.c;
            if (BEFORE)
                before(v, offset, iy, ix, q < CHUNK_Y && s < CHUNK_X, place, bias, scale, sums, p);
            filter_sample(acc, column, v, s, q, p);
        }
    }
    if (SEPARABLE) filter_column(acc, column, s, p);
}

INLINE void write_pixel(float* v, int oy, int ox, const Place& place, const float* bias,
                        const float* scale, float* sums, const Params& p) {
    const Offset offset = ((Offset)oy * p.out_width + ox) * pixel(p) + place.c;
    const i64 element = place.out + offset;
    Bits* const kept = (Bits*)p.bits + element / VECTOR;
    if (AFTER & AFTER_BITS) multiply_by_slope(v, *kept, p);
    if (AFTER & AFTER_RESULT) {
        float result[VECTOR];
        unpack(load(p.result + element), result);
        multiply_by_slope(v, bits_of_result(result, p, AFTER & AFTER_CLAMP), p);
    }
    float noise = 0;
    if (AFTER & AFTER_NOISE) noise = place.strength * place.noise[oy * p.out_width + ox];
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (AFTER & AFTER_SCALE) v[i] *= scale[i];
        if (AFTER & AFTER_NOISE) v[i] += noise;
        if (AFTER & AFTER_BIAS) v[i] += bias[i];
        if (AFTER & AFTER_SUMS) sums[i] += v[i];
    }
    if (AFTER & AFTER_ACT) {
        const u32 bits = activate(v, p, AFTER & AFTER_CLAMP);
        if (AFTER & AFTER_KEEP) *kept = (Bits)bits;
    }
    store(p.y + element, v);
}

INLINE void load_channels(float* bias, float* scale, bool biased, bool scaled, const Place& place,
                          const Params& p) {
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (biased && p.bias) bias[i] = p.bias[place.channel + i];
        if (scaled) scale[i] = p.scale[(i64)place.image * p.channels + place.channel + i];
    }
}

INLINE void make_strip(int sx, int sy, const Place& place, float* sums, const Params& p) {
    float bias[VECTOR] = {}, scale[VECTOR] = {};
    const int ix0 = sx * CHUNK_X - p.left + LOW_X, iy0 = sy * CHUNK_Y - p.top + LOW_Y;
    float acc[SY][SX][VECTOR] = {};
    load_channels(bias, scale, BEFORE & (BEFORE_BIAS | BEFORE_SUMS), BEFORE & BEFORE_SCALE, place, p);
#pragma unroll (UNROLL ? READ_X : 1)
    for (int s = 0; s < READ_X; s++)
        if ((unsigned)(ix0 + s) < (unsigned)p.width)
            read_column(acc, s, ix0 + s, iy0, place, bias, scale, sums, p);
    load_channels(bias, scale, AFTER & AFTER_BIAS, AFTER & AFTER_SCALE, place, p);
#pragma unroll
    for (int a = 0; a < SY; a++)
#pragma unroll
        for (int b = 0; b < SX; b++) {
            const int oy = sy * SY + a, ox = sx * SX + b;
            if ((unsigned)oy < (unsigned)p.out_height && (unsigned)ox < (unsigned)p.out_width)
                write_pixel(acc[a][b], oy, ox, place, bias, scale, sums, p);
        }
}

INLINE Place place_of(int n, int c, const Params& p) {
    Place place;
    place.n = n;
    place.c = c;
    place.image = PLANES ? n / p.channels : n;
    place.channel = PLANES ? n % p.channels : c;
    place.in = (i64)n * p.height * p.width * pixel(p);
    place.out = (i64)n * p.out_height * p.out_width * pixel(p);
    place.noise = p.noise ? p.noise + place.image * p.noise_stride : p.noise;
    place.strength = p.noise ? *p.strength : 0.0f;
    return place;
}

// Partial sums of this block: [2, chunks, N, C] for bias and scale, then [chunks, N, C / VECTOR].
INLINE void write_sums(float* sums, const Place& place, bool inside, const Params& p) {
    sum_over_y<SUMS>(sums);
    if (threadIdx.y || !inside) return;
    const i64 row = (i64)blockIdx.x * p.images + place.n, rows = (i64)gridDim.x * p.images;
    const int c = place.c, width = pixel(p);
    for (int i = 0; i < VECTOR; i++) {
        p.sums[row * width + c + i] = sums[i];
        p.sums[(rows + row) * width + c + i] = sums[VECTOR + i];
    }
    p.sums[2 * rows * width + row * (width / VECTOR) + c / VECTOR] = sums[2 * VECTOR];
}

extern "C" __global__ void __launch_bounds__(256, 2) kernel(BY_VALUE Params p) {
    const int c = (blockIdx.y * blockDim.x + threadIdx.x) * VECTOR;
    const bool inside = c < pixel(p);
    const int tile_y = blockDim.y / p.tile_x;
    for (int n = blockIdx.z; n < p.images; n += gridDim.z) {
        const Place place = place_of(n, c, p);
        float sums[SUMS] = {};
        for (int r = 0; r < p.repeat; r++) {
            const int tile = blockIdx.x * p.repeat + r;
            const int sx = tile % p.tiles_x * p.tile_x + threadIdx.y % p.tile_x;
            const int sy = tile / p.tiles_x * tile_y + threadIdx.y / p.tile_x;
            if (inside && sx < p.strips_x && sy < p.strips_y)
                make_strip(sx + p.first_x, sy + p.first_y, place, sums, p);
        }
        if ((BEFORE & BEFORE_SUMS) || (AFTER & AFTER_SUMS)) write_sums(sums, place, inside, p);
    }
}
