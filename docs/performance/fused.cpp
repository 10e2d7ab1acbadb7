// What a fused native kernel would gain in planning: the rollouts of both settings of docs/performance.md, each block
// of rows taken through the whole horizon while it is in the cache, in float32. Shapes are those of the planner, weights
// are random. A measurement, not a planner: random numbers are drawn beforehand, and what is scored is not kept.
//
//   g++ -O3 -march=native -ffast-math -o fused docs/performance/fused.cpp && ./fused

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

typedef float Vec __attribute__((vector_size(32)));
typedef int IntVec __attribute__((vector_size(32)));
constexpr int LANES = 8;

static Vec load(const float* p) { Vec x; memcpy(&x, p, sizeof x); return x; }
static void store(float* p, Vec x) { memcpy(p, &x, sizeof x); }
static Vec all(float x) { return Vec{x, x, x, x, x, x, x, x}; }

static Vec exponential(Vec x) {  // 2^n * e^f with n whole and |f| <= log(2) / 2
    Vec low = all(-87), high = all(87);
    x = x < low ? low : x;
    x = x > high ? high : x;
    Vec y = x * 1.44269504f;
    IntVec n = __builtin_convertvector(y + (y < 0 ? all(-.5f) : all(.5f)), IntVec);
    Vec f = (y - __builtin_convertvector(n, Vec)) * 0.69314718f;
    Vec e = 1 + f * (1 + f * (1 / 2.f + f * (1 / 6.f + f * (1 / 24.f + f * (1 / 120.f + f / 720)))));
    return e * (Vec)((n + 127) << 23);
}

static Vec root(Vec x) {
    for (int i = 0; i < LANES; i++) x[i] = sqrtf(x[i]);
    return x;
}

enum Activation { LINEAR, RELU, SILU };

// ROWS x (8 * COLUMNS) outputs of a layer, kept in registers over all inputs.
template <int ROWS, int COLUMNS, Activation ACT>
static void tile(const float* x, int x_stride, int inputs, const float* w, int w_stride, const float* b, float* y, int y_stride) {
    Vec sum[ROWS][COLUMNS];
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) sum[r][c] = load(b + LANES * c);
    for (int k = 0; k < inputs; k++) {
        Vec weight[COLUMNS];
        for (int c = 0; c < COLUMNS; c++) weight[c] = load(w + (size_t)k * w_stride + LANES * c);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            Vec input = all(x[r * x_stride + k]);
#pragma GCC unroll 2
            for (int c = 0; c < COLUMNS; c++) sum[r][c] += input * weight[c];
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            Vec v = sum[r][c];
            if (ACT == RELU) v = v > 0 ? v : all(0);
            if (ACT == SILU) v = v / (1 + exponential(-v));
            store(y + r * y_stride + LANES * c, v);
        }
}

static float* numbers(size_t count, float scale) {
    float* p = (float*)aligned_alloc(64, (4 * count + 127) / 64 * 64);
    for (size_t i = 0; i < count; i++) p[i] = scale * (rand() % 2001 - 1000) / 1000.f;
    return p;
}

struct Layer {
    int inputs, outputs;  // outputs padded to whole vectors
    float *weight, *bias;
    Layer(int in, int out) : inputs(in), outputs((out + LANES - 1) / LANES * LANES) {
        weight = numbers((size_t)in * outputs + 64, 1 / sqrtf(in));
        bias = numbers(outputs + 16, .1f);
    }
    template <int ROWS, Activation ACT>
    void operator()(const float* x, int x_stride, int rows, float* y, int y_stride) const {
        for (int j = 0; j < outputs; j += 2 * LANES)
            for (int i = 0; i < rows; i += ROWS) {
                const float* from = x + i * x_stride;
                float* to = y + i * y_stride + j;
                if (j + 2 * LANES <= outputs)
                    tile<ROWS, 2, ACT>(from, x_stride, inputs, weight + j, outputs, bias + j, to, y_stride);
                else
                    tile<ROWS, 1, ACT>(from, x_stride, inputs, weight + j, outputs, bias + j, to, y_stride);
            }
    }
};

// K models, H steps, S observation, A action, E entities of R robot numbers and two coordinates each
constexpr int K = 5, H = 8, S = 26, A = 2, E = 10, R = 6;
constexpr int STATE = 32;  // an observation, padded

static void advance(float* state, const float* mean, const float* raw, const float* noise) {
    for (int s = 0; s < STATE; s += LANES) {
        Vec variance = 1e-4f + 1.6f / (1 + exponential(-load(raw + s)));
        Vec next = load(state + s) + .1f * (load(mean + s) + root(variance) * load(noise + s));
        if (s + LANES <= S) store(state + s, next);
        else memcpy(state + s, &next, (S - s) * sizeof(float));
    }
}

// The paper's: 4 x 200 SiLU networks on (s, a); 420 rows a model.
static double full(int iterations) {
    constexpr int ROWS = 420, BLOCK = 42, WIDTH = 200, STRIDE = 208;
    std::vector<std::vector<Layer>> models;
    for (int k = 0; k < K; k++) {
        models.emplace_back();
        models[k].emplace_back(S + A, WIDTH);
        for (int i = 0; i < 3; i++) models[k].emplace_back(WIDTH, WIDTH);
        models[k].emplace_back(WIDTH, 2 * (S + 1));
    }
    float *noise = numbers((size_t)K * H * ROWS * STATE, 1), *actions = numbers(ROWS * H * A, 1);
    float *x = numbers(BLOCK * STATE, 1), *a = numbers(BLOCK * STRIDE, 1), *b = numbers(BLOCK * STRIDE, 1);
    float *out = numbers(BLOCK * 64 + 64, 1), *path = numbers((size_t)K * H * ROWS * STATE, 1);
    auto start = std::chrono::steady_clock::now();
    for (int iteration = 0; iteration < iterations; iteration++)
        for (int k = 0; k < K; k++)
            for (int first = 0; first < ROWS; first += BLOCK) {
                for (int i = 0; i < BLOCK * STATE; i++) x[i] = .1f;
                for (int h = 0; h < H; h++) {
                    const auto& net = models[k];
                    for (int r = 0; r < BLOCK; r++) memcpy(x + r * STATE + S, actions + ((first + r) * H + h) * A, A * sizeof(float));
                    net[0].operator()<6, SILU>(x, STATE, BLOCK, a, STRIDE);
                    net[1].operator()<6, SILU>(a, STRIDE, BLOCK, b, STRIDE);
                    net[2].operator()<6, SILU>(b, STRIDE, BLOCK, a, STRIDE);
                    net[3].operator()<6, SILU>(a, STRIDE, BLOCK, b, STRIDE);
                    net[4].operator()<6, LINEAR>(b, STRIDE, BLOCK, out, 64);
                    size_t place = (size_t)(k * H + h) * ROWS + first;
                    for (int r = 0; r < BLOCK; r++) advance(x + r * STATE, out + r * 64, out + r * 64 + S + 1, noise + (place + r) * STATE);
                    memcpy(path + place * STATE, x, BLOCK * STATE * sizeof(float));
                }
            }
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// The default: robot, entities, reward, event, cost and value; 105 rows a model.
static double factored(int iterations, float& kept) {
    constexpr int ROWS = 105, BLOCK = 35, WIDTH = 128, ENTITY = 32, OUT = 80;
    struct Model {
        Layer body[3] = {{R + 3 * A, WIDTH}, {WIDTH, WIDTH}, {WIDTH, 2 * R + 2 * ENTITY}};
        Layer place{2, ENTITY}, change{ENTITY, 4};
        Layer reward[3] = {{R + 3 * A + 4, WIDTH}, {WIDTH, WIDTH}, {WIDTH, 2}};
        Layer event[3] = {{8, WIDTH / 2}, {WIDTH / 2, WIDTH / 2}, {WIDTH / 2, 1}};
    } models[K];
    Layer value[2][3] = {{{S, WIDTH}, {WIDTH, WIDTH}, {WIDTH, 1}}, {{S, WIDTH}, {WIDTH, WIDTH}, {WIDTH, 1}}};
    float *noise = numbers((size_t)K * H * ROWS * STATE, 1), *actions = numbers(ROWS * H * A, 1);
    float *x = numbers(BLOCK * STATE, 1), *in = numbers(BLOCK * STATE, 1), *a = numbers(BLOCK * WIDTH, 1);
    float *b = numbers(BLOCK * WIDTH, 1), *out = numbers(BLOCK * OUT, 1), *hidden = numbers(BLOCK * E * ENTITY, 1);
    float *moved = numbers(BLOCK * E * LANES, 1), *kinds = numbers(E * ENTITY, .1f), *score = numbers(K * ROWS, 1);
    auto network = [&](const Layer* net, const float* from) {  // two ReLU layers and one linear, to `moved`
        net[0].operator()<5, RELU>(from, STATE, BLOCK, a, WIDTH);
        net[1].operator()<5, RELU>(a, WIDTH, BLOCK, b, WIDTH);
        net[2].operator()<5, LINEAR>(b, WIDTH, BLOCK, moved, LANES);
    };
    auto start = std::chrono::steady_clock::now();
    for (int iteration = 0; iteration < iterations; iteration++)
        for (int k = 0; k < K; k++)
            for (int first = 0; first < ROWS; first += BLOCK) {
                const Model& m = models[k];
                for (int i = 0; i < BLOCK * STATE; i++) x[i] = .1f;
                for (int h = 0; h < H; h++) {
                    for (int r = 0; r < BLOCK; r++) {
                        float *to = in + r * STATE, *act = actions + ((first + r) * H + h) * A;
                        for (int i = 0; i < R; i++) to[i] = x[r * STATE + i];
                        for (int i = 0; i < A; i++) {
                            to[R + i] = act[i];
                            to[R + A + i] = tanhf(5 * act[i]);
                            to[R + 2 * A + i] = tanhf(25 * act[i]);
                        }
                        for (int i = 0; i < 2; i++) to[R + 3 * A + i] = x[r * STATE + R + i];
                    }
                    m.body[0].operator()<5, RELU>(in, STATE, BLOCK, a, WIDTH);
                    m.body[1].operator()<5, RELU>(a, WIDTH, BLOCK, b, WIDTH);
                    m.body[2].operator()<5, LINEAR>(b, WIDTH, BLOCK, out, OUT);
                    for (int r = 0; r < BLOCK; r++)
                        for (int e = 0; e < E; e++)
                            for (int j = 0; j < ENTITY; j += LANES) {
                                const float *position = x + r * STATE + R + 2 * e, *modulation = out + r * OUT + 2 * R;
                                Vec v = load(kinds + e * ENTITY + j) + position[0] * load(m.place.weight + j) + position[1] * load(m.place.weight + ENTITY + j);
                                v = v * load(modulation + j) + load(modulation + ENTITY + j);
                                store(hidden + (r * E + e) * ENTITY + j, v > 0 ? v : all(0));
                            }
                    m.change.operator()<5, LINEAR>(hidden, ENTITY, BLOCK * E, moved, LANES);
                    for (int r = 0; r < BLOCK; r++) {
                        float mean[STATE] = {}, raw[STATE] = {};
                        memcpy(mean, out + r * OUT, R * sizeof(float));
                        memcpy(raw, out + r * OUT + R, R * sizeof(float));
                        for (int e = 0; e < E; e++)
                            for (int i = 0; i < 2; i++) {
                                mean[R + 2 * e + i] = moved[(r * E + e) * LANES + i];
                                raw[R + 2 * e + i] = moved[(r * E + e) * LANES + 2 + i];
                            }
                        advance(x + r * STATE, mean, raw, noise + ((size_t)(k * H + h) * ROWS + first + r) * STATE);
                        for (int i = 0; i < 2; i++) in[r * STATE + R + 3 * A + 2 + i] = x[r * STATE + R + i];
                    }
                    network(m.reward, in);
                    for (int r = 0; r < BLOCK; r++) {
                        float *goal = in + r * STATE + R + 3 * A, cost = 0;
                        for (int e = 2; e < E; e++) cost += hypotf(x[r * STATE + R + 2 * e], x[r * STATE + R + 2 * e + 1]) < .25f;
                        score[k * ROWS + first + r] += moved[r * LANES] - cost;
                        for (int i = 0; i < 4; i++) {
                            in[r * STATE + i] = goal[i];
                            in[r * STATE + 4 + i] = tanhf(3 * goal[i]);
                        }
                    }
                    network(m.event, in);
                    for (int r = 0; r < BLOCK; r++) score[k * ROWS + first + r] += moved[r * LANES];
                }
                for (const auto& net : value) {
                    network(net, x);
                    for (int r = 0; r < BLOCK; r++) score[k * ROWS + first + r] += moved[r * LANES];
                }
            }
    auto stop = std::chrono::steady_clock::now();
    kept = score[0];  // so that the compiler can't leave the work out
    return std::chrono::duration<double, std::milli>(stop - start).count();
}

int main() {
    double work = 2.0 * 8 * K * H * 420 * ((S + A) * 200 + 3 * 200 * 200 + 200 * 2 * (S + 1)) / 1e9;
    float kept;
    for (int round = 0; round < 5; round++) {
        double paper = full(8), ours = factored(5, kept);
        printf("paper's rollouts %.0f ms (%.1f GFLOP, %.1f GFLOP/s), default's lookaheads %.1f ms (%g)\n", paper, work, 1e3 * work / paper, ours, kept);
    }
}
