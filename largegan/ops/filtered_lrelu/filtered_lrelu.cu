// A leaky activation between two filters, the first of which makes the image larger and the second
// one smaller, in one pass over memory:
//
//     y = down(filter2(act(filter1(up(pad(x + bias))))))
//
// or with the activation's slopes, read from the bits that it left, in its place. The adjoint of
// "filter1, slopes, filter2" is "filter2', slopes, filter1'", so that this file is forward,
// backward and double backward.
//
// An image is a plane, [N * C, height, width]. The middle image, between the filters, is never
// whole anywhere: a warp makes a tile of y and walks down it. Each lane has 4 columns of the middle
// image. Of every row of x, which lies in shared memory, it makes 4 columns at the higher
// resolution, keeps as many rows of these as the first filter is high, makes rows of the middle
// image of them, and adds these to the rows of y that they are part of. Rows of y that have all
// their parts go to shared memory and from there, filtered along x, to y.
//
//   U K1  factor and taps of the first filter, in both directions      D K2  of the second
//   SKIP_X SKIP_Y  middle columns (rows) in front of the first that a tile needs: the first of a
//                  group of U that are made of the same samples
//   ACT    1: the activation, 0: slopes     KEEP  1: write the bits     CLAMP
//   PHASE  row 0 of a tile's middle is number PHASE of the four rows that share a byte of bits
//
// Bits are [N * C, rows of four, columns]: of each row 1 below zero, 2 clamped, or not in the image.
#include "common.cuh"

constexpr int WARPS = 4;                        // of a block, each for itself
constexpr int COLUMNS = 4, MIDDLE = 32 * COLUMNS;
constexpr int P1 = (K1 + U - 1) / U;            // rows of x that meet in a row of the middle
constexpr int WIDTH = COLUMNS / U;              // samples of x that begin at a lane's columns
constexpr int READS = (WIDTH + P1 - 1 + WIDTH - 1) / WIDTH;  // times WIDTH that a lane reads
constexpr int X_WIDTH = WIDTH * (32 + READS - 1);
constexpr int LOADS = (X_WIDTH + 31) / 32;
constexpr int ROWS = U == 4 ? 2 : 4;            // of x in a step
constexpr int MIDS = ROWS * U;                  // of the middle image in a step
constexpr int WARM = (P1 - 1 + ROWS - 1) / ROWS;  // steps before the first row of the middle
constexpr int DONE = MIDS / D;                  // rows of y that a step completes
constexpr int PENDING = (K2 - 1 + SKIP_Y) / D;  // and that earlier steps have begun
constexpr int BEGUN = (MIDS - 1 - SKIP_Y) / D + 1;             // and that it begins itself
constexpr int SUMS = PENDING + (BEGUN > DONE ? BEGUN : DONE);
constexpr int STRIP = COLUMNS / D;              // pixels of y that a lane makes
constexpr int SPAN = (SKIP_X + (STRIP - 1) * D + K2 + 3) / 4;  // times 4 columns that it reads
constexpr int SHARED = DONE * MIDDLE + (ROWS * X_WIDTH + 3) / 4 * 4;  // floats of a warp

static_assert(MIDS % D == 0 && MIDS % 4 == 0, "rows end together");

struct Params {
    const T* x;
    T* y;
    u8* bits;
    const float* bias;  // [C], may be null
    i64 tiles;          // of all planes
    int channels, height, width, mid_height, mid_width, out_height, out_width;
    int first_x, first_y;    // of x, for the first middle column (row) of the first tile
    int before_x, before_y;  // the second filter's padding
    int tile_x, tile_y, tiles_x, tiles_y, steps;
    float alpha, clamp;
    float taps[2 * (K1 + K2)];  // as correlations: along x and y, first and second filter
};

template <int N> struct alignas(4 * N) Floats { float v[N]; };

// Where a warp works.
struct Tile {
    const T* x;         // the plane
    T* y;
    u8* bits;
    float bias;
    int in_x, in_y;     // of x: column 0 and row 0 of the tile; may be outside
    int mid_x, mid_y;   // of the middle
    int out_x, out_y;
};

INLINE bool inside(int i, int n) { return (unsigned)i < (unsigned)n; }

INLINE Tile tile_of(i64 number, const Params& p) {
    const int tx = (int)(number % p.tiles_x), ty = (int)(number / p.tiles_x % p.tiles_y);
    const i64 plane = number / p.tiles_x / p.tiles_y;
    Tile t;
    t.x = p.x + plane * p.height * p.width;
    t.y = p.y + plane * p.out_height * p.out_width;
    t.bits = p.bits + plane * ((p.mid_height + 3) / 4) * p.mid_width;
    t.bias = p.bias ? p.bias[plane % p.channels] : 0.0f;
    t.out_x = tx * p.tile_x;
    t.out_y = ty * p.tile_y;
    t.in_x = t.out_x * D / U + p.first_x;
    t.in_y = t.out_y * D / U + p.first_y;
    t.mid_x = t.out_x * D - p.before_x - SKIP_X;
    t.mid_y = t.out_y * D - p.before_y - SKIP_Y;
    return t;
}

// The rows of x of a step on their way to registers, so that their time passes behind the work of
// the step before.
INLINE void fetch(T (&next)[ROWS][LOADS], int step, const Tile& t, const Params& p) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int y = t.in_y + P1 - 1 + step * ROWS + r;
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            const int x = t.in_x + (int)threadIdx.x + 32 * i;
            if (inside(y, p.height) && inside(x, p.width))
                next[r][i] = read_only<T>(t.x + y * p.width + x);
        }
    }
}

INLINE void keep_rows(float* rows, const T (&next)[ROWS][LOADS], int step, const Tile& t,
                      const Params& p) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int y = t.in_y + P1 - 1 + step * ROWS + r;
#pragma unroll
        for (int i = 0; i < LOADS; i++) {
            const int column = threadIdx.x + 32 * i, x = t.in_x + column;
            const bool is = inside(y, p.height) && inside(x, p.width);
            if (column < X_WIDTH)
                rows[r * X_WIDTH + column] = is ? to_float(next[r][i]) + t.bias : 0.0f;
        }
    }
}

// A lane's columns at the higher resolution, of one row of x.
INLINE void widen(float (&wide)[COLUMNS], const float* row, const Params& p) {
    float v[READS * WIDTH];
#pragma unroll
    for (int i = 0; i < READS; i++) {
        const Floats<WIDTH> part = ((const Floats<WIDTH>*)row)[threadIdx.x + i];
#pragma unroll
        for (int j = 0; j < WIDTH; j++) v[i * WIDTH + j] = part.v[j];
    }
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        wide[c] = 0;
#pragma unroll
        for (int i = 0; i < P1; i++) {
            const int k = U - 1 - c % U + i * U;
            if (k < K1) wide[c] += p.taps[k] * v[c / U + i];
        }
    }
}

INLINE u32 activate(float& v, const Params& p) {
    u32 bits = 0;
    if (!(v > 0)) {
        v *= p.alpha;
        bits = 1;
    }
    if (CLAMP && (v >= p.clamp || v <= -p.clamp)) {
        v = v > 0 ? p.clamp : -p.clamp;
        bits |= 2;
    }
    return bits;
}

// Bytes of the bits around row y of the middle, four columns in a word; outside all are clamped.
INLINE u32 read_bits(int y, const Tile& t, const Params& p) {
    u32 word = 0;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const int x = t.mid_x + (int)threadIdx.x * COLUMNS + c;
        u32 byte = 0xaa;
        if (inside(y, p.mid_height) && inside(x, p.mid_width))
            byte = read_only<u8>(t.bits + (y >> 2) * p.mid_width + x);
        word |= byte << (8 * c);
    }
    return word;
}

// Row y is the last of four. Those of other tiles, and what is outside, are not this one's.
INLINE void write_bits(u32 word, int y, const Tile& t, const Params& p) {
    const int first = (y & ~3) - t.out_y * D;
    if (first < 0 || first >= p.tile_y * D || (y & ~3) >= p.mid_height) return;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const int column = threadIdx.x * COLUMNS + c, x = t.mid_x + column;
        if (column >= SKIP_X && column < SKIP_X + p.tile_x * D && x < p.mid_width)
            t.bits[(y >> 2) * p.mid_width + x] = (u8)(word >> (8 * c));
    }
}

// Row `mid` of a step: made of rows, activated or multiplied by slopes, added to rows of y.
INLINE void middle(float (&sums)[SUMS][COLUMNS], const float (&wide)[P1 - 1 + ROWS][COLUMNS],
                   u32& word, int mid, int step, const Tile& t, const Params& p) {
    const int y = t.mid_y + step * MIDS + mid, place = 2 * ((PHASE + mid) % 4);
    if (!ACT && (mid == 0 || place == 0)) word = read_bits(y, t, p);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        float v = 0;
#pragma unroll
        for (int i = 0; i < P1; i++) {
            const int k = U - 1 - mid % U + i * U;
            if (k < K1) v += p.taps[K1 + k] * wide[mid / U + i][c];
        }
        if (ACT) {
            const u32 bits = activate(v, p);
            if (KEEP) word |= (y < p.mid_height ? bits : 2u) << (8 * c + place);
        } else {
            const u32 bits = word >> (8 * c + place);
            if (bits & 1u) v *= p.alpha;
            if (bits & 2u) v = 0;
        }
#pragma unroll
        for (int a = 0; a < SUMS; a++) {
            const int k = mid - SKIP_Y + (PENDING - a) * D;
            if (k >= 0 && k < K2) sums[a][c] += p.taps[2 * K1 + K2 + k] * v;
        }
    }
    if (KEEP && place == 6) {
        write_bits(word, y, t, p);
        word = 0;
    }
}

// Row `row` of those in shared memory, filtered along x: row oy of y.
INLINE void narrow(const float* row, int oy, const Tile& t, const Params& p) {
    float v[SPAN * 4];
#pragma unroll
    for (int i = 0; i < SPAN; i++) {
        const Floats<4> part = ((const Floats<4>*)row)[threadIdx.x + i];
#pragma unroll
        for (int j = 0; j < 4; j++) v[4 * i + j] = part.v[j];
    }
#pragma unroll
    for (int b = 0; b < STRIP; b++) {
        const int ox = t.out_x + (int)threadIdx.x * STRIP + b;
        float sum = 0;
#pragma unroll
        for (int k = 0; k < K2; k++) sum += p.taps[2 * K1 + k] * v[SKIP_X + b * D + k];
        if (ox < p.out_width) t.y[oy * p.out_width + ox] = from_float(sum);
    }
}

INLINE void make_tile(const Tile& t, float* shared, const Params& p) {
    float* const rows = shared + DONE * MIDDLE;
    T next[ROWS][LOADS];
    float wide[P1 - 1 + ROWS][COLUMNS] = {}, sums[SUMS][COLUMNS] = {};
    u32 word = 0;  // of bits
    fetch(next, -WARM, t, p);
#pragma unroll 1
    for (int step = -WARM; step < p.steps; step++) {
        keep_rows(rows, next, step, t, p);
        __syncwarp();
        if (step + 1 < p.steps) fetch(next, step + 1, t, p);
#pragma unroll
        for (int r = 0; r < ROWS; r++) widen(wide[P1 - 1 + r], rows + r * X_WIDTH, p);
        if (step >= 0) {
#pragma unroll
            for (int mid = 0; mid < MIDS; mid++) middle(sums, wide, word, mid, step, t, p);
#pragma unroll
            for (int a = 0; a < DONE; a++) {
                Floats<4> part;
#pragma unroll
                for (int c = 0; c < 4; c++) part.v[c] = sums[a][c];
                ((Floats<4>*)(shared + a * MIDDLE))[threadIdx.x] = part;
            }
        }
        __syncwarp();
#pragma unroll
        for (int a = 0; a < DONE; a++) {
            const int row = step * DONE - PENDING + a;
            if (step >= 0 && inside(row, p.tile_y) && t.out_y + row < p.out_height
                && (int)threadIdx.x * STRIP < p.tile_x)
                narrow(shared + a * MIDDLE, t.out_y + row, t, p);
        }
#pragma unroll
        for (int i = 0; i < P1 - 1; i++)
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) wide[i][c] = wide[i + ROWS][c];
        if (step < 0) continue;
#pragma unroll
        for (int a = 0; a < SUMS; a++)
#pragma unroll
            for (int c = 0; c < COLUMNS; c++)
                sums[a][c] = a + DONE < SUMS ? sums[a + DONE < SUMS ? a + DONE : 0][c] : 0.0f;
    }
}

// Long filters need registers.
constexpr int BLOCKS = P1 + K2 / D > 14 ? 2 : 3;  // that a multiprocessor has at once

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS) kernel(BY_VALUE Params p) {
    DYNAMIC_SHARED float shared[];
    const i64 number = (i64)blockIdx.x * WARPS + threadIdx.y;
    if (number < p.tiles) make_tile(tile_of(number, p), shared + threadIdx.y * SHARED, p);
}
