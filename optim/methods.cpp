#include "optim/methods.hpp"

#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <stdexcept>
#include <typeinfo>

#include "optim/cuda/constants.hpp"
#include "optim/cuda/cuda_step.hpp"
#include "optim/kernels/library_rules.hpp"

namespace scalevec {

using torch::Tensor;

namespace {

template <class M>
Compiled<M> compiled() {
  Compiled<M> out{&kernels::library_loops<M>};
  out.set_device_values = &cuda::set_values<M>;
  if constexpr (kMeasures<M>) out.measure = &kernels::library_loops<typename M::Measure>;
  if constexpr (kHasCurvature<M>) {
    out.curvature = &kernels::library_loops<typename M::Curvature>;
    out.set_curvature_values = &cuda::set_curvature_values<M>;
  }
  return out;
}

}  // namespace

#define SCALEVEC_METHOD(name, type)                                                    \
  template <>                                                                          \
  const Method& implementation_of<methods::type>() {                                   \
    static const ElementwiseMethodOf<methods::type> method(compiled<methods::type>()); \
    return method;                                                                     \
  }                                                                                    \
  template class OptionsOf<methods::type>;
SCALEVEC_ELEMENTWISE_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
#undef SCALEVEC_METHOD

#define SCALEVEC_METHOD(name, type)                                                                          \
  template <>                                                                                                \
  const Method& implementation_of<methods::type>() {                                                         \
    static const CodedMethodOf<methods::type> method(&kernels::library_code_loops<methods::type>,            \
                                                     &cuda::set_values<cuda::CodedOnDevice<methods::type>>); \
    return method;                                                                                           \
  }                                                                                                          \
  template class OptionsOf<methods::type>;
SCALEVEC_BLOCK_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
#undef SCALEVEC_METHOD

#define SCALEVEC_METHOD(name, type)                    \
  template <>                                          \
  const Method& implementation_of<methods::type>() {   \
    static const MatrixMethodOf<methods::type> method; \
    return method;                                     \
  }                                                    \
  template class OptionsOf<methods::type>;
SCALEVEC_MATRIX_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
#undef SCALEVEC_METHOD

torch::Tensor MatrixJob::buffer(std::string_view name) const {
  const auto at = std::find(names.begin(), names.end(), name) - names.begin();
  return at < static_cast<std::ptrdiff_t>(names.size()) ? buffers[static_cast<size_t>(at)] : torch::Tensor();
}

std::vector<Tensor> DeviceMatrices::buffer(std::size_t index) const {
  std::vector<Tensor> out;
  for (const auto& of_matrix : buffers) out.push_back(of_matrix[index]);
  return out;
}
Tensor DeviceMatrices::stacked(std::size_t index) const { return at::stack(buffer(index)); }
void DeviceMatrices::keep(std::size_t index, const Tensor& value) {
  at::_foreach_copy_(buffer(index), at::where(refused, stacked(index), value).unbind(0));
}
Tensor DeviceMatrices::step() const { return at::stack(steps).to(torch::kFloat64); }
Tensor DeviceMatrices::normals(c10::IntArrayRef sizes, std::uint64_t stream) const {
  Tensor out = at::empty(sizes, update.options());
  cuda::fill_normals(out, static_cast<std::uint64_t>(number), stream);
  return out;
}

kernels::Rule momentum_rule(const rules::Decay<double>& decay,
                            const kernels::MomentumPass::Constants<double>& constants) {
  return kernels::pass_rule<kernels::MomentumPass>(decay, constants);
}

void momentum_pass(MatrixJob& job, const kernels::Rule& rule) {
  job.update = at::empty_like(job.buffers[0]);
  const kernels::Job pass{rule,
                          job.dtype,
                          job.param.data_ptr(),
                          job.grad.const_data_ptr(),
                          {job.buffers[0].data_ptr(), job.update.data_ptr()},
                          job.param.numel(),
                          &job.store};
  kernels::step({&pass, 1}, {}, parallel_for);
}

kernels::Rule gradient_rule(const rules::Decay<double>& decay) {
  return kernels::pass_rule<kernels::ReadPass>(decay, {1.0, 0.0});
}

namespace {

Tensor run_read_pass(const MatrixJob& job, const kernels::Rule& rule) {
  Tensor out =
      at::empty(job.param.sizes(),
                job.param.options().dtype(job.dtype == kernels::Dtype::float64 ? torch::kFloat64 : torch::kFloat32));
  const kernels::Job pass{
      rule,      job.dtype, job.param.data_ptr(), job.grad.const_data_ptr(), {out.data_ptr()}, job.param.numel(),
      &job.store};
  kernels::step({&pass, 1}, {}, parallel_for);
  return out;
}

}  // namespace

void gradient_pass(MatrixJob& job, const kernels::Rule& rule) { job.update = run_read_pass(job, rule); }

Tensor param_values(const MatrixJob& job) {
  return run_read_pass(job, kernels::pass_rule<kernels::ReadPass>({}, {0.0, 1.0}));
}

namespace {

struct Known {
  std::string_view name;
  const std::type_info* type;
  detail::MakeOptions make;
};

// The library's methods, then those that a program has registered.
std::vector<Known>& known_methods() {
  static std::vector<Known> known = [] {
    std::vector<Known> list;
    const auto add = [&]<class M>(std::type_identity<M>) {
      list.push_back(
          {M::kName, &typeid(M), []() -> std::unique_ptr<MethodOptions> { return std::make_unique<OptionsOf<M>>(); }});
    };
    for_each_type(ElementwiseMethods(), add);
    for_each_type(BlockMethods(), add);
    for_each_type(MatrixMethods(), add);
    return list;
  }();
  return known;
}

}  // namespace

void detail::add_method(std::string_view name, const std::type_info& type, MakeOptions make) {
  for (const Known& known : known_methods()) {
    if (known.name != name) continue;
    if (*known.type == type) return;
    throw std::invalid_argument("register_method(): another method has the name " + std::string(name));
  }
  known_methods().push_back({name, &type, make});
}

std::unique_ptr<MethodOptions> make_method_options(std::string_view method) {
  for (const Known& known : known_methods()) {
    if (known.name != method) continue;
    auto options = known.make();
    options->set_weight_decay(0.0);
    return options;
  }
  return nullptr;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (const Known& known : known_methods()) names.emplace_back(known.name);
  return names;
}

}  // namespace scalevec
