#pragma once

#include "tests/cuda/row_checks.hpp"

// The checks of SwiGLU, RoPE, cross-entropy and scaled matrices.
namespace scalevec::cuda_test {

inline void check_swiglu(const Backend& b) {
  const auto f = Type::float32;
  const double eps = 1e-5;
  for (const RowShape& s : kRowShapes)
    for (const Type type : {f, Type::bfloat16})
      for (const int form : {0, 1, 2}) {  // plain, normed, normed with γ
        const bool normed = form > 0, with_gamma = form == 2;
        INFO(s.n << " x " << s.d << ", padding " << s.padding << ", shift " << s.shift << ", type "
                 << static_cast<int>(type) << ", form " << form);
        const auto n = static_cast<std::size_t>(s.n), d = static_cast<std::size_t>(s.d);
        // Without a norm a factor of 1e15 would be all that the row's largest element shows.
        const Input gate(b, draw(s.n, s.d, 1, normed), type, s), up(b, draw(s.n, s.d, 2, normed), type, s),
            grad(b, draw(s.n, s.d, 3), type, s);
        const Values gamma = stored(draw(1, s.d, 4), f);
        const Array scale(b, gamma, f), y(b, s.n * s.d, type), rstd(b, 2 * s.n, f), dgate(b, s.n * s.d, type),
            dup(b, s.n * s.d, type), parts(b, std::min(s.n, rows::kMaxParts) * s.d, f), dgamma(b, s.d, f);
        const float* by = with_gamma ? scale.floats() : nullptr;
        b.launches->swiglu(
            {gate.in(), up.in(), by, y.data(), normed ? rstd.floats() : nullptr, static_cast<float>(eps), s.n, s.d},
            nullptr);
        b.launches->swiglu_backward({grad.in(), gate.in(), up.in(), by, normed ? rstd.floats() : nullptr, dgate.data(),
                                     dup.data(), parts.floats(), dgamma.floats(), s.n, s.d},
                                    nullptr);
        Values want(n * d), want_gate(n * d), want_up(n * d), want_gamma(d), gamma_scale(d), gate_scale, up_scale;
        for (std::size_t r = 0; r < n; ++r) {
          const double ra = normed ? rstd_of(gate.values, static_cast<std::int64_t>(r), s.d, eps) : 1.0;
          const double rb = normed ? rstd_of(up.values, static_cast<std::int64_t>(r), s.d, eps) : 1.0;
          Values ta(d), tb(d);
          double most_a = 0.0, most_b = 0.0;
          for (std::size_t j = 0; j < d; ++j) {
            const std::size_t i = r * d + j;
            const double unit = gate.values[i] * ra, v = up.values[i] * rb, u = unit * (with_gamma ? gamma[j] : 1.0);
            const double sigma = 1.0 / (1.0 + std::exp(-u)), slope = sigma + u * sigma * (1.0 - sigma);
            want[i] = u * sigma * v;
            const double du = grad.values[i] * v * slope;
            ta[j] = du * (with_gamma ? gamma[j] : 1.0);
            tb[j] = grad.values[i] * u * sigma;
            want_gamma[j] += du * unit;
            // The slope is a difference where u is near −1.28.
            gamma_scale[j] += std::abs(grad.values[i] * v * unit) * (sigma + std::abs(u) * sigma * (1.0 - sigma));
            most_a = std::max(most_a, std::abs(ta[j]));
            most_b = std::max(most_b, std::abs(tb[j]));
          }
          if (normed) {
            norm_gradient(&gate.values[r * d], ta.data(), ra, s.d, &want_gate[r * d]);
            norm_gradient(&up.values[r * d], tb.data(), rb, s.d, &want_up[r * d]);
          } else {
            std::copy(ta.begin(), ta.end(), want_gate.begin() + static_cast<std::ptrdiff_t>(r * d));
            std::copy(tb.begin(), tb.end(), want_up.begin() + static_cast<std::ptrdiff_t>(r * d));
          }
          // Of a unit vector the largest square is d.
          gate_scale.push_back(ra * most_a * 4.0);
          up_scale.push_back(rb * most_b * 4.0);
        }
        CHECK(row_gap(y.get(), want, s.d) <= tolerance(type));
        CHECK(row_gap(dgate.get(), want_gate, s.d, gate_scale) <= tolerance(type));
        CHECK(row_gap(dup.get(), want_up, s.d, up_scale) <= tolerance(type));
        if (with_gamma && s.n > 0) CHECK(row_gap(dgamma.get(), want_gamma, 1, gamma_scale) <= 8e-6);
      }
}

struct RotateShape {
  std::int64_t tokens, heads, d, length;
  bool per_head;
};

inline void check_rotate(const Backend& b) {
  const auto f = Type::float32;
  const double eps = 1e-5;
  const std::vector<RotateShape> shapes{{1, 1, 2, 1, true},     {6, 3, 6, 3, true},       {6, 3, 6, 3, false},
                                        {10, 4, 64, 5, true},   {10, 4, 64, 5, false},    {4, 2, 128, 4, true},
                                        {3, 2, 256, 3, true},   {1500, 12, 16, 50, true}, {3, 40, 128, 3, false},
                                        {3, 3, 1000, 3, false}, {2, 80, 128, 1, false},   {280, 2, 80, 7, false},
                                        {2, 3, 1400, 2, true}};
  for (const RotateShape& s : shapes)
    for (const Type type : {f, Type::bfloat16})
      for (const int form : {0, 1, 2}) {  // no norm, norm, norm with γ
        const std::int64_t together = s.per_head ? 1 : s.heads, per_token = s.per_head ? s.heads : 1;
        const std::int64_t n = s.tokens * per_token, width = together * s.d, half = s.d / 2;
        INFO(s.tokens << " tokens, " << s.heads << " heads of " << s.d << ", per head " << s.per_head << ", type "
                      << static_cast<int>(type) << ", form " << form);
        const RowShape rows_shape{n, width};
        const Input x(b, draw(n, width, 1, form > 0), type, rows_shape), grad(b, draw(n, width, 3), type, rows_shape);
        const Values gamma = stored(draw(1, width, 4), f);
        Values cosines, sines;
        for (std::int64_t i = 0; i < s.length * half; ++i) {
          cosines.push_back(std::cos(0.37 * static_cast<double>(i)));
          sines.push_back(std::sin(0.37 * static_cast<double>(i)));
        }
        cosines = stored(cosines, f);
        sines = stored(sines, f);
        const Array scale(b, gamma, f), cos(b, cosines, f), sin(b, sines, f), y(b, n * width, type), rstd(b, n, f),
            dx(b, n * width, type), parts(b, std::min(n, rows::kMaxParts) * width, f), dgamma(b, width, f);
        const float* by = form == 2 ? scale.floats() : nullptr;
        b.launches->rotate({x.array.data(), type, by, cos.floats(), sin.floats(), 1.0f, static_cast<float>(eps),
                            y.data(), form > 0 ? rstd.floats() : nullptr, n, together, s.d, s.length, per_token},
                           nullptr);
        if (form > 0)
          b.launches->rotate_backward(
              {grad.array.data(), x.array.data(), type, by, rstd.floats(), cos.floats(), sin.floats(), dx.data(),
               parts.floats(), dgamma.floats(), n, together, s.d, s.length, per_token},
              nullptr);
        else
          b.launches->rotate({grad.array.data(), type, nullptr, cos.floats(), sin.floats(), -1.0f, 0.0f, dx.data(),
                              nullptr, s.tokens * s.heads, 1, s.d, s.length, s.heads},
                             nullptr);
        Values want(x.values.size()), want_dx(x.values.size()), want_gamma(static_cast<std::size_t>(width)),
            gamma_scale(static_cast<std::size_t>(width)), dx_scale;
        for (std::int64_t r = 0; r < n; ++r) {
          const double factor = form > 0 ? rstd_of(x.values, r, width, eps) : 1.0;
          const std::int64_t position = r / per_token % s.length;
          Values t(static_cast<std::size_t>(width));
          double most = 0.0;
          for (std::int64_t h = 0; h < together; ++h)
            for (std::int64_t i = 0; i < half; ++i) {
              const auto j = static_cast<std::size_t>(h * s.d + i), k = j + static_cast<std::size_t>(half);
              const std::size_t at = static_cast<std::size_t>(r * width) + j,
                                other = at + static_cast<std::size_t>(half);
              const auto angle = static_cast<std::size_t>(position * half + i);
              const double c = cosines[angle], sn = sines[angle];
              const double u = x.values[at] * factor, v = x.values[other] * factor;
              const double gu = form == 2 ? gamma[j] : 1.0, gv = form == 2 ? gamma[k] : 1.0;
              want[at] = u * gu * c - v * gv * sn;
              want[other] = v * gv * c + u * gu * sn;
              const double one = grad.values[at] * c + grad.values[other] * sn;
              const double two = grad.values[other] * c - grad.values[at] * sn;
              t[j] = one * gu;
              t[k] = two * gv;
              want_gamma[j] += one * u;
              want_gamma[k] += two * v;
              gamma_scale[j] += (std::abs(grad.values[at]) + std::abs(grad.values[other])) * std::abs(u);
              gamma_scale[k] += (std::abs(grad.values[at]) + std::abs(grad.values[other])) * std::abs(v);
              most = std::max({most, std::abs(t[j]), std::abs(t[k])});
            }
          if (form > 0)
            norm_gradient(&x.values[static_cast<std::size_t>(r * width)], t.data(), factor, width,
                          &want_dx[static_cast<std::size_t>(r * width)]);
          else
            std::copy(t.begin(), t.end(), want_dx.begin() + static_cast<std::ptrdiff_t>(r * width));
          dx_scale.push_back(4.0 * factor * most);
        }
        CHECK(row_gap(y.get(), want, width) <= tolerance(type));
        CHECK(row_gap(dx.get(), want_dx, width, dx_scale) <= tolerance(type));
        if (form == 2) CHECK(row_gap(dgamma.get(), want_gamma, 1, gamma_scale) <= 8e-6);
      }
}

inline void check_cross_entropy(const Backend& b) {
  const auto f = Type::float32;
  for (const auto& [n, d] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 5}, {7, 33}, {3, 50257}, {2, 32768}, {300, 9}})
    for (const Type type : {f, Type::bfloat16})
      for (const int form : {0, 1, 2}) {  // in place; into other memory; into memory of another alignment
        INFO(n << " x " << d << ", type " << static_cast<int>(type) << ", form " << form);
        Values drawn = draw(n, d, 1);
        for (double& v : drawn) v *= 4.0;
        if (d > 5) {
          for (std::int64_t j = 0; j < d / 2; ++j) drawn[static_cast<std::size_t>(j)] = -INFINITY;
          drawn[static_cast<std::size_t>(d - 1)] = 80.0;
        }
        const Values logits = stored(drawn, type);
        std::vector<std::int64_t> ids;
        for (std::int64_t r = 0; r < n; ++r) ids.push_back(d - 1 - r * 7 % ((d + 1) / 2));
        const Array x(b, logits, type, form), lse(b, n, f), each(b, n, f), loss(b, 1, f), grad(b, Values{1.5}, f),
            other(b, n * d, type, form == 2 ? 3 : form);
        const std::shared_ptr<void> target = b.allocate(ids.size() * sizeof(std::int64_t));
        b.copy(target.get(), ids.data(), ids.size() * sizeof(std::int64_t));
        const auto* targets = static_cast<const std::int64_t*>(target.get());
        b.launches->cross_entropy({x.data(), type, targets, lse.floats(), each.floats(), loss.floats(), n, d}, nullptr);
        const Array& to = form == 0 ? x : other;
        const Values got_loss = loss.get();
        b.launches->cross_entropy_backward({x.data(), type, targets, lse.floats(), grad.floats(), to.data(), n, d},
                                           nullptr);
        Values want(logits.size());
        double total = 0.0;
        for (std::int64_t r = 0; r < n; ++r) {
          const double* row = &logits[static_cast<std::size_t>(r * d)];
          const double top = *std::max_element(row, row + d);
          double sum = 0.0;
          for (std::int64_t j = 0; j < d; ++j) sum += std::exp(row[j] - top);
          const double shift = top + std::log(sum);
          const std::int64_t id = ids[static_cast<std::size_t>(r)];
          total += shift - row[id];
          for (std::int64_t j = 0; j < d; ++j)
            want[static_cast<std::size_t>(r * d + j)] =
                1.5 / static_cast<double>(n) * (std::exp(row[j] - shift) - (j == id ? 1.0 : 0.0));
        }
        total /= static_cast<double>(n);
        // Between logits of some tens a difference in float32 is off by some 1e-6.
        CHECK(std::abs(got_loss[0] - total) <= 1e-5 + 2e-6 * std::abs(total));
        const double slope_scale = 1.5 / static_cast<double>(n);
        CHECK(row_gap(to.get(), want, d, Values(static_cast<std::size_t>(n), slope_scale)) <=
              (type == f ? 1e-5 : 1.0 / 256 + 1e-5));
      }
}

inline void check_scaled_matrix(const Backend& b) {
  struct Types {
    Type w, product;
  };
  const auto f = Type::float32, h = Type::bfloat16;
  for (const RowShape& s : kRowShapes)
    for (const auto& [w_type, product] : {Types{f, f}, {f, h}, {h, h}})
      for (const int form : {1, 2, 3}) {  // a row, a column, both
        const bool with_row = form & 1, with_column = form & 2;
        INFO(s.n << " x " << s.d << ", padding " << s.padding << ", shift " << s.shift << ", types "
                 << static_cast<int>(w_type) << static_cast<int>(product) << ", form " << form);
        const auto n = static_cast<std::size_t>(s.n), d = static_cast<std::size_t>(s.d);
        const Input w(b, draw(s.n, s.d, 1), w_type, s), grad(b, draw(s.n, s.d, 3), product, s);
        const Values rows_by = stored(draw(1, s.n, 4), f), columns_by = stored(draw(1, s.d, 5), f);
        const Array row(b, rows_by, f), column(b, columns_by, f), out(b, s.n * s.d, product), dw(b, s.n * s.d, w_type),
            drow(b, s.n, f), parts(b, std::min(s.n, rows::kMaxParts) * s.d, f), dcolumn(b, s.d, f);
        const float *r = with_row ? row.floats() : nullptr, *c = with_column ? column.floats() : nullptr;
        b.launches->scale_matrix({w.in(), r, c, out.out(), s.n, s.d}, nullptr);
        b.launches->scale_matrix_backward({grad.in(), w.in(), r, c, dw.data(), with_row ? drow.floats() : nullptr,
                                           parts.floats(), with_column ? dcolumn.floats() : nullptr, s.n, s.d},
                                          nullptr);
        Values want(n * d), want_dw(n * d), want_row(n), row_scale(n), want_column(d), column_scale(d);
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < d; ++j) {
            const std::size_t at = i * d + j;
            const double by_row = with_row ? rows_by[i] : 1.0, by_column = with_column ? columns_by[j] : 1.0;
            want[at] = w.values[at] * by_row * by_column;
            want_dw[at] = grad.values[at] * by_row * by_column;
            const double product_here = w.values[at] * grad.values[at];
            want_row[i] += product_here * by_column;
            row_scale[i] += std::abs(product_here * by_column);
            want_column[j] += product_here * by_row;
            column_scale[j] += std::abs(product_here * by_row);
          }
        CHECK(row_gap(out.get(), want, s.d) <= tolerance(product));
        CHECK(row_gap(dw.get(), want_dw, s.d) <= tolerance(w_type));
        if (with_row) CHECK(row_gap(drow.get(), want_row, 1, row_scale) <= 4e-6);
        if (with_column && s.n > 0) CHECK(row_gap(dcolumn.get(), want_column, 1, column_scale) <= 4e-6);
      }
}

}  // namespace scalevec::cuda_test
