#include "scalevec/models/ops/fused.hpp"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "scalevec/models/kernels/row_kernels.hpp"
#include "scalevec/models/ops/dispatch.hpp"
#include "scalevec/optim/parallel/parallel.hpp"

namespace scalevec::ops {
namespace {

using kernels::row_kernels;
using kernels::Rows;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Rows per unit of work. Fixed, so that sums over rows do not depend on the number of threads.
constexpr std::int64_t kRows = 64;
constexpr std::int64_t kColumns = 1024;

std::int64_t row_count(const Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }
std::int64_t chunk_count(std::int64_t rows) { return (rows + kRows - 1) / kRows; }

// An undefined tensor is no argument to an autograd function.
using Maybe = std::optional<Tensor>;
Maybe maybe(const Tensor& t) { return t.defined() ? Maybe(t) : std::nullopt; }
Tensor or_undefined(const Maybe& t) { return t ? *t : Tensor(); }

// body(chunk, first row, end row)
template <class Body>
void over_rows(std::int64_t rows, const Body& body) {
  kernels::parallel_for(chunk_count(rows),
                        [&](std::int64_t c) { body(c, c * kRows, std::min(rows, (c + 1) * kRows)); });
}

// x itself where its rows can be walked as Rows says, else a contiguous copy.
Tensor walkable(const Tensor& x) {
  if (x.is_contiguous() || x.dim() < 2) return x.contiguous();
  bool fits = x.stride(-1) == 1;
  for (std::int64_t i = 0; i + 3 < x.dim(); ++i) fits = fits && x.stride(i) == x.stride(i + 1) * x.size(i + 1);
  return fits ? x : x.contiguous();
}

template <class T>
Rows<const T> rows_of(const Tensor& x) {
  const std::int64_t d = x.size(-1);
  if (x.is_contiguous() || x.dim() < 2) return {x.const_data_ptr<T>(), 1, d, 0};
  if (x.dim() == 2) return {x.const_data_ptr<T>(), 1, x.stride(0), 0};
  return {x.const_data_ptr<T>(), x.size(-2), x.stride(-3), x.stride(-2)};
}

template <class T>
const T* data_or_null(const Tensor& t) { return t.defined() ? t.const_data_ptr<T>() : nullptr; }

// Σ over the first dimension in its order, in double.
template <class T>
Tensor sum_of_parts(const Tensor& parts) {
  const std::int64_t count = parts.size(0), d = parts.size(1);
  Tensor out = at::empty({d}, parts.options());
  const T* from = parts.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  kernels::parallel_for((d + kColumns - 1) / kColumns, [&](std::int64_t block) {
    for (std::int64_t j = block * kColumns; j < std::min(d, (block + 1) * kColumns); ++j) {
      double sum = 0.0;
      for (std::int64_t c = 0; c < count; ++c) sum += static_cast<double>(from[c * d + j]);
      to[j] = static_cast<T>(sum);
    }
  });
  return out;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Maybe& maybe_gamma, double eps) {
    const Tensor x = walkable(input), gamma = or_undefined(maybe_gamma);
    const std::int64_t n = row_count(x), d = x.size(-1);
    Tensor y = at::empty(x.sizes(), x.options()), rstd = at::empty({n}, x.options());
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = rows_of<T>(x);
      const T* scale = data_or_null<T>(gamma);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().norm(rows, scale, static_cast<T>(eps), y.data_ptr<T>(), rstd.data_ptr<T>(), d, begin, end);
      });
    });
    context->save_for_backward({gamma.defined() ? x : y, rstd, gamma});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor grad = walkable(grads[0]);
    const Tensor &x = saved[0], &rstd = saved[1], &gamma = saved[2];
    const std::int64_t n = row_count(x), d = x.size(-1);
    Tensor dx = at::empty(x.sizes(), x.options()), dgamma;
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto g = rows_of<T>(grad);
      T* to = dx.data_ptr<T>();
      const T* scale = rstd.const_data_ptr<T>();
      if (!gamma.defined()) {
        over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
          row_kernels<T>().unscaled_norm_backward(g, x.const_data_ptr<T>(), scale, to, d, begin, end);
        });
        return;
      }
      Tensor parts = at::zeros({chunk_count(n), d}, x.options());
      const auto rows = rows_of<T>(x);
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().norm_backward(g, rows, gamma.const_data_ptr<T>(), scale, to, parts.data_ptr<T>() + c * d, d, begin, end);
      });
      dgamma = sum_of_parts<T>(parts);
    });
    return {dx, dgamma, Tensor()};
  }
};

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  // `normed` as in normed_swiglu().
  static Tensor forward(AutogradContext* context, const Tensor& first, const Tensor& second, const Maybe& maybe_gamma,
                        bool normed, double eps) {
    const Tensor gate = walkable(first), up = walkable(second), gamma = or_undefined(maybe_gamma);
    const std::int64_t h = gate.size(-1), n = row_count(gate);
    Tensor y = at::empty(gate.sizes(), gate.options()), rstd = normed ? at::empty({n, 2}, gate.options()) : Tensor();
    by_dtype(gate, [&](auto zero) {
      using T = decltype(zero);
      const auto a = rows_of<T>(gate), b = rows_of<T>(up);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().swiglu(a, b, data_or_null<T>(gamma), static_cast<T>(eps), y.data_ptr<T>(),
                                normed ? rstd.data_ptr<T>() : nullptr, h, begin, end);
      });
    });
    context->save_for_backward({gate, up, gamma, rstd});
    return y;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1], &gamma = saved[2], &rstd = saved[3];
    const Tensor grad = walkable(grads[0]);
    const std::int64_t h = gate.size(-1), n = row_count(gate);
    Tensor dgate = at::empty(gate.sizes(), gate.options()), dup = at::empty(up.sizes(), up.options()), dgamma;
    by_dtype(gate, [&](auto zero) {
      using T = decltype(zero);
      const auto a = rows_of<T>(gate), b = rows_of<T>(up), g = rows_of<T>(grad);
      Tensor parts = gamma.defined() ? at::zeros({chunk_count(n), h}, gate.options()) : Tensor();
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().swiglu_backward(g, a, b, data_or_null<T>(gamma), data_or_null<T>(rstd), dgate.data_ptr<T>(),
                                         dup.data_ptr<T>(), parts.defined() ? parts.data_ptr<T>() + c * h : nullptr, h, begin,
                                         end);
      });
      if (parts.defined()) dgamma = sum_of_parts<T>(parts);
    });
    return {dgate, dup, dgamma, Tensor(), Tensor()};
  }
};

struct Rotate : torch::autograd::Function<Rotate> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& cos, const Tensor& sin,
                        const Maybe& maybe_gamma) {
    const Tensor x = walkable(input), gamma = or_undefined(maybe_gamma);
    Tensor y = at::empty(x.sizes(), x.options());
    run(x, cos, sin, gamma, 1, y);
    context->save_for_backward({gamma.defined() ? x : Tensor(), cos, sin, gamma});
    return y;
  }

  static void run(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& gamma, int sign, Tensor& y) {
    const std::int64_t length = x.size(1), heads = x.size(2), d = x.size(3);
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto rows = rows_of<T>(x);
      over_rows(row_count(x), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().rotate(rows, data_or_null<T>(gamma), cos.const_data_ptr<T>(), sin.const_data_ptr<T>(),
                                static_cast<T>(sign), y.data_ptr<T>(), length, heads, d, begin, end);
      });
    });
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &cos = saved[1], &sin = saved[2], &gamma = saved[3];
    const Tensor grad = walkable(grads[0]);
    Tensor dx = at::empty(grad.sizes(), grad.options()), dgamma;
    if (!gamma.defined()) {
      run(grad, cos, sin, {}, -1, dx);
      return {dx, Tensor(), Tensor(), Tensor()};
    }
    const std::int64_t length = x.size(1), heads = x.size(2), d = x.size(3), n = row_count(x);
    by_dtype(x, [&](auto zero) {
      using T = decltype(zero);
      const auto g = rows_of<T>(grad), rows = rows_of<T>(x);
      Tensor parts = at::zeros({chunk_count(n), heads * d}, x.options());
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().rotate_backward(g, rows, gamma.const_data_ptr<T>(), cos.const_data_ptr<T>(), sin.const_data_ptr<T>(),
                                         dx.data_ptr<T>(), parts.data_ptr<T>() + c * heads * d, length, heads, d, begin, end);
      });
      dgamma = sum_of_parts<T>(parts);
    });
    return {dx, Tensor(), Tensor(), dgamma};
  }
};

// The arguments after x are weight, row, column, bias of each map, without those that `defined` says are not there.
struct ScaledLinear : torch::autograd::Function<ScaledLinear> {
  static tensor_list with_gaps(at::TensorList given, std::size_t first, const std::vector<bool>& defined) {
    tensor_list flat(defined.size());
    for (std::size_t i = 0; i < defined.size(); ++i)
      if (defined[i]) flat[i] = given[first++];
    return flat;
  }

  // W' of the map whose four tensors start at flat[m].
  static Tensor scaled_weight(const tensor_list& flat, std::size_t m) {
    const Tensor &weight = flat[m], &row = flat[m + 1], &column = flat[m + 2];
    if (!row.defined() && !column.defined()) return weight;
    Tensor out = at::empty(weight.sizes(), weight.options());
    by_dtype(out, [&](auto zero) {
      using T = decltype(zero);
      over_rows(weight.size(0), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().scale_matrix(weight.const_data_ptr<T>(), data_or_null<T>(row), data_or_null<T>(column),
                                      out.data_ptr<T>(), weight.size(1), begin, end);
      });
    });
    return out;
  }

  static tensor_list forward(AutogradContext* context, const Tensor& x, at::TensorList given,
                             const std::vector<bool>& defined) {
    const tensor_list flat = with_gaps(given, 0, defined);
    tensor_list saved{x}, out;
    saved.insert(saved.end(), given.begin(), given.end());
    context->save_for_backward(saved);
    c10::List<bool> kept;
    for (const bool there : defined) kept.push_back(there);
    context->saved_data["defined"] = kept;
    for (std::size_t m = 0; m < flat.size(); m += 4) out.push_back(at::linear(x, scaled_weight(flat, m), maybe(flat[m + 3])));
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    std::vector<bool> defined;
    for (const bool there : context->saved_data["defined"].toBoolList()) defined.push_back(there);
    const tensor_list flat = with_gaps(saved, 1, defined);
    const std::int64_t d = x.size(-1);
    const Tensor rows = x.reshape({-1, d});
    tensor_list out(flat.size());
    Tensor dx;
    for (std::size_t m = 0; m < flat.size(); m += 4) {
      const Tensor& output_grad = grads[m / 4];
      if (!output_grad.defined()) continue;
      const Tensor &weight = flat[m], &row = flat[m + 1], &column = flat[m + 2];
      const std::int64_t n = weight.size(0);
      const Tensor grad = output_grad.reshape({-1, n});
      if (context->needs_input_grad(0)) {
        if (dx.defined())
          dx.addmm_(grad, scaled_weight(flat, m));
        else
          dx = at::mm(grad, scaled_weight(flat, m));
      }
      Tensor dweight = at::mm(grad.t(), rows);
      if (flat[m + 3].defined()) out[m + 3] = grad.sum(0);
      if (row.defined() || column.defined())
        by_dtype(x, [&](auto zero) {
          using T = decltype(zero);
          Tensor drow = row.defined() ? at::empty({n}, x.options()) : Tensor();
          Tensor parts = column.defined() ? at::zeros({chunk_count(n), d}, x.options()) : Tensor();
          over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
            row_kernels<T>().scale_matrix_backward(dweight.data_ptr<T>(), weight.const_data_ptr<T>(), data_or_null<T>(row),
                                                   data_or_null<T>(column), drow.defined() ? drow.data_ptr<T>() : nullptr,
                                                   parts.defined() ? parts.data_ptr<T>() + c * d : nullptr, d, begin, end);
          });
          out[m + 1] = drow;
          if (parts.defined()) out[m + 2] = sum_of_parts<T>(parts);
        });
      out[m] = dweight;
    }
    tensor_list result{dx.defined() ? dx.view(x.sizes()) : Tensor()};
    for (std::size_t i = 0; i < flat.size(); ++i)
      if (defined[i]) result.push_back(out[i]);
    result.emplace_back();
    return result;
  }
};

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& given) {
    const Tensor logits = input.contiguous(), target = given.contiguous();
    const std::int64_t n = logits.size(0), d = logits.size(1);
    const std::int64_t* ids = target.const_data_ptr<std::int64_t>();
    for (std::int64_t r = 0; r < n; ++r)
      if (ids[r] < 0 || ids[r] >= d)
        throw std::invalid_argument("cross_entropy: target " + std::to_string(ids[r]) + "; allowed: 0 to " + std::to_string(d - 1));
    Tensor lse = at::empty({n}, logits.options()), rows = at::empty({n}, logits.options()), loss = at::empty({}, logits.options());
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      T* each = rows.data_ptr<T>();
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().cross_entropy(logits.const_data_ptr<T>(), ids, lse.data_ptr<T>(), each, d, begin, end);
      });
      double sum = 0.0;
      for (std::int64_t r = 0; r < n; ++r) sum += static_cast<double>(each[r]);
      *loss.data_ptr<T>() = static_cast<T>(sum / static_cast<double>(n));
    });
    context->save_for_backward({logits, target, lse});
    return loss;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor &logits = saved[0], &target = saved[1], &lse = saved[2];
    const std::int64_t n = logits.size(0), d = logits.size(1);
    Tensor dlogits = at::empty(logits.sizes(), logits.options());
    by_dtype(logits, [&](auto zero) {
      using T = decltype(zero);
      const T scale = grads[0].item<T>() / static_cast<T>(n);
      over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().cross_entropy_backward(logits.const_data_ptr<T>(), target.const_data_ptr<std::int64_t>(),
                                                lse.const_data_ptr<T>(), scale, dlogits.data_ptr<T>(), d, begin, end);
      });
    });
    return {dlogits, Tensor()};
  }
};

}  // namespace

bool takes_kernels(const Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kFloat64) &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

Tensor rms_norm(const Tensor& x, const Tensor& gamma, double eps) {
  return takes_kernels(x) ? RmsNorm::apply(x, maybe(gamma), eps) : composed::rms_norm(x, gamma, eps);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target) {
  return takes_kernels(logits) && logits.numel() > 0 ? CrossEntropy::apply(logits, target) : composed::cross_entropy(logits, target);
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  return takes_kernels(gate) ? SwiGlu::apply(gate, up, Maybe(), false, 0.0) : composed::swiglu(gate, up);
}

Tensor normed_swiglu(const Tensor& gate, const Tensor& up, const Tensor& gamma, double eps) {
  return takes_kernels(gate) ? SwiGlu::apply(gate, up, maybe(gamma), true, eps)
                             : composed::normed_swiglu(gate, up, gamma, eps);
}

Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& gamma) {
  return takes_kernels(x) ? Rotate::apply(x, cos, sin, maybe(gamma)) : composed::rotate(x, cos, sin, gamma);
}

std::vector<Tensor> scaled_linear(const Tensor& x, const std::vector<Scaled>& maps) {
  if (!takes_kernels(x)) return composed::scaled_linear(x, maps);
  tensor_list given;
  std::vector<bool> defined;
  for (const Scaled& map : maps)
    for (const Tensor& t : {map.weight, map.row, map.column, map.bias}) {
      defined.push_back(t.defined());
      if (t.defined()) given.push_back(t);
    }
  return ScaledLinear::apply(x, at::TensorList(given), defined);
}

}  // namespace scalevec::ops
