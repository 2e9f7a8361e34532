#include <ATen/autocast_mode.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <vector>

#include "models/ops/device.hpp"
#include "models/ops/device_rows.hpp"
#include "models/ops/fused.hpp"
#include "models/ops/kernel_rows.hpp"

namespace scalevec::models::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// One map of the operator: its tensors, and the norm of its output.
struct Map {
  Tensor weight, row, column, bias;
  double eps;  // negative: no norm
  bool normed() const { return eps >= 0.0; }
};

// The tensors and numbers of several maps in one list each, as an autograd function takes them.
struct Packed {
  tensor_list given;  // those that there are
  std::vector<bool> defined;
  std::vector<double> eps;

  std::vector<Map> maps(const tensor_list& tensors, std::size_t first) const {
    std::vector<Map> out;
    for (std::size_t m = 0; m < eps.size(); ++m) {
      Map map{{}, {}, {}, {}, eps[m]};
      Tensor* const parts[] = {&map.weight, &map.row, &map.column, &map.bias};
      for (std::size_t i = 0; i < 4; ++i)
        if (defined[4 * m + i]) *parts[i] = tensors[first++];
      out.push_back(map);
    }
    return out;
  }
};

Tensor scaled_weight(const Map& map, torch::ScalarType product) {
  if (!map.row.defined() && !map.column.defined()) return map.weight.to(product);
  if (device::takes(map.weight))
    return device::scaled_matrix(map.weight, device::scale_of(maybe(map.row)), device::scale_of(maybe(map.column)),
                                 product);
  Tensor out = at::empty(map.weight.sizes(), map.weight.options());
  by_dtype(out, [&](auto zero) {
    using T = decltype(zero);
    over_rows(map.weight.size(0), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      row_kernels<T>().scale_matrix(map.weight.const_data_ptr<T>(), data_or_null<T>(map.row),
                                    data_or_null<T>(map.column), out.data_ptr<T>(), map.weight.size(1), begin, end);
    });
  });
  return out.to(product);
}

// Whether the backward pass takes W' from the forward: autocast keeps a copy of every other weight in the product's
// type for it too. Elsewhere W' is formed twice, so that a scaled map needs no more memory than another.
bool keeps_scaled_weight(const Map& map, torch::ScalarType product) {
  return device::takes(map.weight) && product != map.weight.scalar_type();
}

// y ← y/√(mean y² + eps) row by row, in its own memory; returns 1/√(…).
Tensor norm_in_place(Tensor& y, double eps) {
  if (device::takes(y)) return device::norm_in_place(y, eps);
  const std::int64_t n = row_count(y), d = y.size(-1);
  Tensor rstd = at::empty({n}, y.options());
  by_dtype(y, [&](auto zero) {
    using T = decltype(zero);
    T* data = y.data_ptr<T>();
    over_rows(n, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      row_kernels<T>().norm({data, 1, d, 0}, nullptr, static_cast<T>(eps), data, rstd.data_ptr<T>(), d, begin, end);
    });
  });
  return rstd;
}

Tensor norm_backward(const Tensor& output_grad, const Tensor& y, const Tensor& rstd) {
  if (device::takes(y)) return device::norm_in_place_backward(output_grad, y, rstd);
  const Tensor grad = with_row_strides(output_grad.dim() == 2 ? output_grad : output_grad.flatten(0, -2));
  Tensor dx = at::empty(grad.sizes(), y.options());
  by_dtype(y, [&](auto zero) {
    using T = decltype(zero);
    const auto g = rows_of<T>(grad);
    over_rows(row_count(grad), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      row_kernels<T>().unscaled_norm_backward(g, y.const_data_ptr<T>(), rstd.const_data_ptr<T>(), {}, dx.data_ptr<T>(),
                                              y.size(-1), begin, end);
    });
  });
  return dx;
}

struct ScaledLinear : torch::autograd::Function<ScaledLinear> {
  // `product` is the type that the products are taken in, the parameters' own or what autocast asks for.
  static tensor_list forward(AutogradContext* context, const Tensor& input, at::TensorList given,
                             const std::vector<bool>& defined, const std::vector<double>& eps,
                             std::int64_t product_type) {
    const auto product = static_cast<torch::ScalarType>(product_type);
    const Packed packed{given.vec(), defined, eps};
    const Tensor x = input.to(product);
    tensor_list saved{x}, out, kept;
    saved.insert(saved.end(), given.begin(), given.end());
    for (const Map& map : packed.maps(packed.given, 0)) {
      const Tensor weight = scaled_weight(map, product);
      if (keeps_scaled_weight(map, product)) kept.push_back(weight);
      Tensor y = at::linear(x, weight, map.bias.defined() ? Maybe(map.bias.to(product)) : std::nullopt);
      if (map.normed()) {
        if (!device::takes(y)) y = unrounded(y);
        const Tensor rstd = norm_in_place(y, map.eps);
        kept.insert(kept.end(), {y, rstd});
      }
      out.push_back(y);
    }
    saved.insert(saved.end(), kept.begin(), kept.end());
    context->save_for_backward(saved);
    context->set_materialize_grads(false);
    c10::List<bool> there;
    for (const bool is : defined) there.push_back(is);
    context->saved_data["defined"] = there;
    context->saved_data["eps"] = c10::List<double>(eps);
    context->saved_data["input_type"] = static_cast<std::int64_t>(input.scalar_type());
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& grads) {
    refuse_double_backward();
    const auto saved = context->get_saved_variables();
    const Tensor& x = saved[0];
    Packed packed;
    for (const bool there : context->saved_data["defined"].toBoolList()) packed.defined.push_back(there);
    packed.eps = context->saved_data["eps"].toDoubleVector();
    const auto input_type = static_cast<torch::ScalarType>(context->saved_data["input_type"].toInt());
    const std::vector<Map> maps = packed.maps(saved, 1);
    const std::int64_t d = x.size(-1);
    const torch::ScalarType product = x.scalar_type();
    auto kept = saved.begin() + 1 + std::count(packed.defined.begin(), packed.defined.end(), true);
    const Tensor rows = x.reshape({-1, d});
    std::vector<tensor_list> map_grads;
    Tensor dx;
    for (std::size_t m = 0; m < maps.size(); ++m) {
      const Map& map = maps[m];
      map_grads.emplace_back(4);
      tensor_list& out = map_grads.back();
      Tensor weight;
      if (keeps_scaled_weight(map, product)) weight = *kept++;
      const auto norm = kept;
      kept += map.normed() ? 2 : 0;
      if (!grads[m].defined()) continue;
      const std::int64_t n = map.weight.size(0);
      const Tensor grad = map.normed()
                              ? norm_backward(device::takes(norm[0]) ? grads[m] : unrounded(grads[m]), norm[0], norm[1])
                                    .to(product)
                                    .view({-1, n})
                              : grads[m].to(product).reshape({-1, n});
      if (context->needs_input_grad(0)) {
        if (!weight.defined()) weight = scaled_weight(map, product);
        // Sums of products are kept in the input's own precision.
        if (!dx.defined())
          dx = at::mm(grad, weight).to(input_type);
        else if (product == input_type)
          dx.addmm_(grad, weight);
        else
          dx.add_(at::mm(grad, weight));
      }
      Tensor dweight = at::mm(grad.t(), rows);
      if (map.bias.defined()) out[3] = grad.sum(0, false, map.bias.scalar_type());
      const bool scaled = map.row.defined() || map.column.defined();
      if (!scaled || !device::takes(map.weight)) dweight = dweight.to(map.weight.scalar_type());
      if (scaled) scale_backward(map, dweight, out);
      out[0] = dweight;
    }
    tensor_list result{dx.defined() ? dx.view(x.sizes()) : Tensor()};
    for (std::size_t m = 0; m < maps.size(); ++m)
      for (std::size_t i = 0; i < 4; ++i)
        if (packed.defined[4 * m + i]) result.push_back(map_grads[m][i]);
    result.insert(result.end(), 3, Tensor());
    return result;
  }

  // From ∂L/∂W', in place, ∂L/∂W; out[1] and out[2] are the row's and the column's gradient.
  static void scale_backward(const Map& map, Tensor& dweight, tensor_list& out) {
    if (device::takes(map.weight)) {
      const device::MatrixGrads grads = device::scaled_matrix_backward(
          dweight, map.weight, device::scale_of(maybe(map.row)), device::scale_of(maybe(map.column)));
      dweight = grads.weight;
      if (map.row.defined()) out[1] = grads.row.to(map.row.scalar_type());
      if (map.column.defined()) out[2] = grads.column.to(map.column.scalar_type());
      return;
    }
    const std::int64_t n = map.weight.size(0), d = map.weight.size(1);
    by_dtype(map.weight, [&](auto zero) {
      using T = decltype(zero);
      Tensor drow = map.row.defined() ? at::empty({n}, map.weight.options()) : Tensor();
      Tensor parts = map.column.defined() ? at::zeros({chunk_count(n), d}, map.weight.options()) : Tensor();
      over_rows(n, [&](std::int64_t c, std::int64_t begin, std::int64_t end) {
        row_kernels<T>().scale_matrix_backward(dweight.data_ptr<T>(), map.weight.const_data_ptr<T>(),
                                               data_or_null<T>(map.row), data_or_null<T>(map.column),
                                               drow.defined() ? drow.data_ptr<T>() : nullptr,
                                               parts.defined() ? parts.data_ptr<T>() + c * d : nullptr, d, begin, end);
      });
      out[1] = drow;
      if (parts.defined()) out[2] = sum_of_parts<T>(parts);
    });
  }
};

}  // namespace

bool takes_kernels(const Tensor& x) {
  if (!x.device().is_cpu()) return false;
  return x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kFloat64 ||
         (is_reduced(x.scalar_type()) && at::autocast::is_autocast_enabled(at::kCPU));
}

std::vector<Tensor> scaled_linear(const Tensor& x, const std::vector<Scaled>& maps) {
  const bool on_device = device::takes(x);
  if (!on_device && !takes_kernels(x)) return composed::scaled_linear(x, maps);
  RECORD_FUNCTION("scalevec::scaled_linear", std::vector<c10::IValue>{});
  Packed packed;
  for (const Scaled& map : maps) {
    packed.eps.push_back(map.output_norm ? *map.output_norm : -1.0);
    for (const Tensor& t : {map.weight, map.row, map.column, map.bias}) {
      packed.defined.push_back(t.defined());
      if (t.defined()) packed.given.push_back(t);
    }
  }
  const bool rounds = at::autocast::is_autocast_enabled(at::kCPU) && x.scalar_type() != torch::kFloat64;
  const auto product = on_device ? device::product_type(x)
                       : rounds  ? at::autocast::get_autocast_dtype(at::kCPU)
                                 : x.scalar_type();
  return ScaledLinear::apply(x, at::TensorList(packed.given), packed.defined, packed.eps,
                             static_cast<std::int64_t>(product));
}

}  // namespace scalevec::models::ops
