#include "optim/testing/testing.hpp"

#include <torch/optim/adamw.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "optim/methods.hpp"
#include "optim/optimizer.hpp"

namespace scalevec::testing {
namespace {

// How a parameter of the suite lies in memory. `holes` is transposed, with gaps between its elements.
enum class Layout { contiguous, transposed, holes, empty, single };

const char* to_string(Layout layout) {
  constexpr const char* kNames[] = {"contiguous", "transposed", "holes", "empty", "single"};
  return kNames[static_cast<int>(layout)];
}

// The programs, each over one method and one layout. A program throws std::runtime_error that says what went wrong.
class HostPrograms {
 public:
  using Program = void (HostPrograms::*)() const;

  HostPrograms(MakeOptions options, Layout layout) : options_(std::move(options)), layout_(layout) {}

  static std::vector<std::pair<const char*, Program>> all() {
    return {{"a parameter grows by set_data", &HostPrograms::grows},
            {"a parameter becomes float64, bfloat16, float16 and float32 again", &HostPrograms::changes_dtype},
            {"a parameter's strides change", &HostPrograms::changes_strides},
            {"a parameter's storage is replaced", &HostPrograms::changes_storage},
            {"a parameter is replaced by another tensor", &HostPrograms::replaced},
            {"a gradient is a lazily negated view", &HostPrograms::negated_gradient},
            {"parameters are lazy copies, and are lazily copied", &HostPrograms::lazily_copied},
            {"a gradient is of another shape", &HostPrograms::other_gradient_shape},
            {"saved and loaded, a run goes on", &HostPrograms::saved},
            {"parameters of 16 bits under every rounding, saved and loaded", &HostPrograms::rounded},
            {"saved and loaded in another order", &HostPrograms::saved_in_another_order},
            {"saved and loaded with the groups exchanged", &HostPrograms::groups_exchanged},
            {"saved without names for parameters of another shape", &HostPrograms::saved_for_other_shapes},
            {"two parameters of one name", &HostPrograms::one_name},
            {"the named state of another method", &HostPrograms::state_of_another_method},
            {"clipping and the check of gradients in an archive", &HostPrograms::settings_saved},
            {"options that become invalid", &HostPrograms::invalid_options},
            {"zero gradients without an eps", &HostPrograms::zero_gradients},
            {"parameters that overlap", &HostPrograms::overlap},
            {"version counters", &HostPrograms::versions},
            {"options held over a load", &HostPrograms::options_held},
            {"initial_lr of a clone", &HostPrograms::initial_lr},
            {"a group that does not fit", &HostPrograms::group_refused}};
  }

 private:
  using Tensor = torch::Tensor;
  using Groups = std::vector<torch::optim::OptimizerParamGroup>;
  using State = std::vector<std::pair<std::string, Tensor>>;

  static void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
  }

  // What `f` throws; fails if it throws nothing.
  template <class F>
  static std::string refusal(const std::string& of, const F& f) {
    try {
      f();
    } catch (const std::invalid_argument& e) {
      return e.what();
    } catch (const std::exception& e) {
      throw std::runtime_error(of + " throws no std::invalid_argument: " + e.what());
    }
    throw std::runtime_error(of + " is not refused");
  }

  static Tensor lay(const Tensor& value, Layout layout) {
    const torch::NoGradGuard no_grad;
    const std::int64_t rows = value.size(0), cols = value.size(1);
    if (layout == Layout::transposed) return value.t().contiguous().t();
    if (layout != Layout::holes) return value.clone();
    Tensor out = torch::zeros({cols, 2 * rows}, value.options()).t().slice(0, 0, 2 * rows, 2);
    return out.copy_(value);
  }

  std::vector<std::int64_t> shape() const {
    if (layout_ == Layout::empty) return {0, 4};
    if (layout_ == Layout::single) return {1, 1};
    return {16, 6};
  }

  // Tensors of one seed are equal.
  Tensor param(std::uint64_t seed, torch::Dtype dtype = torch::kFloat32) const {
    torch::manual_seed(seed);
    return lay(torch::randn(shape(), torch::kFloat64).to(dtype), layout_).requires_grad_(true);
  }

  static void set_grads(const std::vector<Tensor>& params, std::uint64_t step) {
    torch::manual_seed(1000 + step);
    for (const Tensor& p : params) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
  }

  static void run(Optimizer& optimizer, const std::vector<Tensor>& params, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t step = from; step < to; ++step) {
      set_grads(params, step);
      optimizer.step();
    }
  }

  std::unique_ptr<Optimizer> make(const std::vector<Tensor>& params, std::vector<std::string> names = {}) const {
    std::vector<NamedParam> named;
    for (size_t i = 0; i < names.size(); ++i) named.push_back({names[i], params[i], {}});
    return std::make_unique<Optimizer>(Groups{{params}}, options_(), named);
  }

  static State copy_of(const State& state) {
    State out;
    for (const auto& [name, tensor] : state) out.emplace_back(name, tensor.clone());
    return out;
  }

  static bool same(const State& a, const State& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i)
      if (a[i].first != b[i].first || !torch::equal(a[i].second, b[i].second)) return false;
    return true;
  }

  // Values and state at a moment.
  struct Snapshot {
    std::vector<Tensor> params, values;
    State state;
  };
  static Snapshot snapshot(const Optimizer& optimizer, const std::vector<Tensor>& params) {
    Snapshot out{params, {}, copy_of(optimizer.named_state())};
    for (const Tensor& p : params) out.values.push_back(p.detach().clone());
    return out;
  }
  static void require_unchanged(const Snapshot& before, const Optimizer& optimizer) {
    for (size_t i = 0; i < before.params.size(); ++i)
      require(torch::equal(before.values[i], before.params[i].detach()), "a parameter has changed");
    require(same(before.state, optimizer.named_state()), "the state has changed");
  }

  static void require_equal(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    for (size_t i = 0; i < a.size(); ++i)
      require(torch::equal(a[i], b[i]), "parameter " + std::to_string(i) + " differs from an undisturbed run's");
  }

  void grows() const {
    const std::vector<Tensor> params{param(1), param(2)};
    const auto optimizer = make(params, {"w", "neighbour"});
    run(*optimizer, params, 0, 2);
    const auto neighbour = snapshot(*optimizer, {params[1]});
    params[0].mutable_grad() = Tensor();
    Tensor grown = params[0];
    grown.set_data(torch::ones({params[0].size(0) + 512, params[0].size(1)}));
    set_grads(params, 2);
    const std::string said = refusal("a step after it", [&] { optimizer->step(); });
    require(said.find("w: ") == 0, "its error does not name it: " + said);
    require(torch::equal(grown, torch::ones_like(grown)), "the parameter has changed");
    require_unchanged(neighbour, *optimizer);
  }

  // As loading a state into parameters of the other type does.
  void changes_dtype() const {
    const std::vector<Tensor> params{param(1), param(2)};
    const auto optimizer = make(params, {"a", "b"});
    run(*optimizer, params, 0, 2);
    for (const auto dtype : {torch::kFloat64, torch::kBFloat16, torch::kFloat16, torch::kFloat32}) {
      std::vector<Tensor> others;
      for (Tensor p : params) {
        p.mutable_grad() = Tensor();
        p.set_data(p.detach().to(dtype));
        others.push_back(p.detach().clone().requires_grad_(true));
      }
      const auto other = make(others, {"a", "b"});
      other->load_named_state(copy_of(optimizer->named_state()));
      run(*optimizer, params, 2, 4);
      run(*other, others, 2, 4);
      require_equal(params, others);
    }
  }

  void changes_strides() const {
    const std::vector<Tensor> params{param(1), param(2)}, still{param(1), param(2)};
    const auto optimizer = make(params), other = make(still);
    run(*other, still, 0, 6);
    run(*optimizer, params, 0, 2);
    std::uint64_t step = 2;
    for (const auto layout : {Layout::transposed, Layout::holes, Layout::contiguous, layout_}) {
      for (Tensor p : params) p.set_data(lay(p.detach(), layout));
      run(*optimizer, params, step, step + 1);
      ++step;
    }
    require_equal(params, still);
  }

  void changes_storage() const {
    const std::vector<Tensor> params{param(1)}, still{param(1)};
    const auto optimizer = make(params), other = make(still);
    run(*other, still, 0, 4);
    run(*optimizer, params, 0, 2);
    for (Tensor p : params) p.set_data(lay(p.detach(), layout_));
    run(*optimizer, params, 2, 4);
    require_equal(params, still);
  }

  // The new tensor may get the old one's address.
  void replaced() const {
    Tensor first = param(1);
    const auto optimizer = make({first});
    run(*optimizer, {first}, 0, 3);
    optimizer->param_groups()[0].params().clear();
    first = Tensor();
    const std::vector<Tensor> fresh{param(5)}, alone{param(5)};
    optimizer->param_groups()[0].params().push_back(fresh[0]);
    run(*optimizer, fresh, 0, 3);
    const auto other = make(alone);
    run(*other, alone, 0, 3);
    require_equal(fresh, alone);
    require(same(optimizer->named_state(), other->named_state()), "its state is not that of a fresh run");
    require(optimizer->state().size() == 1, "state of a parameter that has left is kept");
  }

  void negated_gradient() const {
    const std::vector<Tensor> params{param(1)}, plain{param(1)};
    const auto optimizer = make(params), other = make(plain);
    for (std::uint64_t step = 0; step < 3; ++step) {
      set_grads(params, step);
      set_grads(plain, step);
      params[0].mutable_grad() = at::_neg_view(params[0].grad().neg());
      optimizer->step();
      other->step();
    }
    require_equal(params, plain);
  }

  // at::_lazy_clone() shares memory until one of the two is written.
  void lazily_copied() const {
    const std::vector<Tensor> whole{param(1), param(1)};
    const auto undisturbed = make(whole, {"a", "b"});
    run(*undisturbed, whole, 0, 4);
    const Tensor first = param(1).detach(), begin = first.clone();
    const std::vector<Tensor> params{at::_lazy_clone(first).requires_grad_(true),
                                     at::_lazy_clone(first).requires_grad_(true)};
    const auto optimizer = make(params, {"a", "b"});
    run(*optimizer, params, 0, 2);
    require(torch::equal(first, begin), "the tensor whose lazy copies are trained has changed");
    const Tensor kept = at::_lazy_clone(params[0].detach()), now = params[0].detach().clone();
    run(*optimizer, params, 2, 4);
    require(torch::equal(kept, now), "a lazy copy of a parameter has changed with it");
    require_equal(whole, params);
  }

  void other_gradient_shape() const {
    const std::vector<Tensor> params{param(1)};
    const auto optimizer = make(params, {"w"});
    run(*optimizer, params, 0, 2);
    const auto before = snapshot(*optimizer, params);
    // One that copying would broadcast.
    params[0].mutable_grad() = layout_ == Layout::single ? torch::ones({1, 1, 1}) : torch::ones({1, 1});
    const std::string said = refusal("its step", [&] { optimizer->step(); });
    require(said.find("w: ") == 0, "its error does not name it: " + said);
    require_unchanged(before, *optimizer);
  }

  void saved() const {
    const std::vector<Tensor> whole{param(1), param(2)}, parts{param(1), param(2)};
    const auto undisturbed = make(whole);
    run(*undisturbed, whole, 0, 6);
    const auto first = make(parts);
    run(*first, parts, 0, 2);
    std::stringstream file;
    torch::save(*first, file);
    const auto second = make(parts);
    torch::load(*second, file);
    require(same(first->named_state(), second->named_state()), "the state loaded is not the state saved");
    run(*second, parts, 2, 4);
    const auto third = make(parts);
    third->load_named_state(copy_of(second->named_state()));
    run(*third, parts, 4, 6);
    require_equal(whole, parts);
  }

  // The bits of an undisturbed run, also where the parameters have moved in memory meanwhile.
  void rounded() const {
    for (const auto dtype : {torch::kBFloat16, torch::kFloat16})
      for (const char* rounding : {"nearest", "stochastic", "compensated"}) {
        const auto make_rounded = [&](const std::vector<Tensor>& params) {
          auto options = options_();
          for (const auto& field : options->fields())
            if (field.key == "rounding") *std::get<std::string*>(field.value) = rounding;
          return std::make_unique<Optimizer>(Groups{{params}}, std::move(options));
        };
        const std::string where = std::string(rounding) + " " + c10::toString(dtype) + ": ";
        const std::vector<Tensor> whole{param(1, dtype), param(2, dtype)}, parts{param(1, dtype), param(2, dtype)};
        const Tensor begin = whole[0].detach().clone();
        const auto undisturbed = make_rounded(whole);
        run(*undisturbed, whole, 0, 6);
        require(torch::isfinite(whole[0]).all().item<bool>(), where + "not finite");
        // Of a single element six small steps may cancel.
        require(whole[0].numel() <= 1 || !torch::equal(whole[0], begin), where + "the parameter has not moved");
        const auto first = make_rounded(parts);
        run(*first, parts, 0, 2);
        std::stringstream file;
        torch::save(*first, file);
        for (Tensor p : parts) p.set_data(lay(p.detach(), Layout::transposed));
        const auto second = make_rounded(parts);
        torch::load(*second, file);
        require(same(first->named_state(), second->named_state()), where + "the state loaded is not the state saved");
        run(*second, parts, 2, 4);
        for (Tensor p : parts) p.set_data(lay(p.detach(), layout_));
        const auto third = make_rounded(parts);
        third->load_named_state(copy_of(second->named_state()));
        run(*third, parts, 4, 6);
        require(torch::equal(whole[0], parts[0]) && torch::equal(whole[1], parts[1]),
                where + "the parameters differ from an undisturbed run's");
      }
  }

  void saved_in_another_order() const {
    const std::vector<Tensor> whole{param(1), param(2)}, parts{param(1), param(2)};
    const auto undisturbed = make(whole, {"a", "b"});
    run(*undisturbed, whole, 0, 4);
    const auto first = make(parts, {"a", "b"});
    run(*first, parts, 0, 2);
    std::stringstream file;
    torch::save(*first, file);
    const auto second = make({parts[1], parts[0]}, {"b", "a"});
    torch::load(*second, file);
    run(*second, parts, 2, 4);
    require_equal(whole, parts);
  }

  std::unique_ptr<Optimizer> make_groups(const std::vector<std::pair<Tensor, double>>& members,
                                         const std::vector<std::string>& names) const {
    Groups groups;
    std::vector<NamedParam> named;
    for (size_t i = 0; i < members.size(); ++i) {
      auto options = options_();
      options->set_lr(members[i].second);
      groups.emplace_back(std::vector<Tensor>{members[i].first}, std::move(options));
      named.push_back({names[i], members[i].first, {}});
    }
    return std::make_unique<Optimizer>(groups, options_(), named);
  }

  void groups_exchanged() const {
    const std::vector<Tensor> whole{param(1), param(2)}, parts{param(1), param(2)};
    const auto undisturbed = make_groups({{whole[0], 1e-3}, {whole[1], 1e-2}}, {"a", "b"});
    run(*undisturbed, whole, 0, 4);
    const auto first = make_groups({{parts[0], 1e-3}, {parts[1], 1e-2}}, {"a", "b"});
    run(*first, parts, 0, 2);
    std::stringstream file;
    torch::save(*first, file);
    const auto second = make_groups({{parts[1], 0.5}, {parts[0], 0.25}}, {"b", "a"});
    torch::load(*second, file);
    require(second->param_groups()[0].options().get_lr() == 1e-2, "the group of b has not b's lr");
    require(second->param_groups()[1].options().get_lr() == 1e-3, "the group of a has not a's lr");
    run(*second, parts, 2, 4);
    require_equal(whole, parts);
  }

  void saved_for_other_shapes() const {
    const std::vector<Tensor> params{param(1)};
    const auto optimizer = make(params);
    run(*optimizer, params, 0, 1);
    std::stringstream file;
    torch::save(*optimizer, file);
    const std::vector<Tensor> other{torch::ones({5, 7}).requires_grad_(true)};
    const auto target = make(other);
    run(*target, other, 0, 1);
    const auto before = snapshot(*target, other);
    refusal("loading it", [&] { torch::load(*target, file); });
    require_unchanged(before, *target);
  }

  void one_name() const {
    const std::vector<Tensor> params{param(1), param(2)};
    const std::string said = refusal("naming them", [&] { make(params, {"w", "w"}); });
    require(said.find("w") != std::string::npos, "its error does not give the name: " + said);
    const auto optimizer = make(params, {"a", "b"});
    refusal("renaming one", [&] { optimizer->set_names({{"a", params[1], {}}}); });
    require(optimizer->names() == std::vector<std::string>{"a", "b"}, "names have changed");
  }

  void state_of_another_method() const {
    for (const std::string& method : method_names()) {
      const std::vector<Tensor> params{param(1)};
      const auto optimizer = make(params, {"w"});
      if (method == options_()->method()) continue;
      Optimizer other(Groups{{params}}, make_method_options(method), {{"w", params[0], {}}});
      run(other, params, 0, 1);
      run(*optimizer, params, 1, 2);
      const auto before = snapshot(*optimizer, params);
      const std::string said =
          refusal("the state of " + method, [&] { optimizer->load_named_state(other.named_state()); });
      require(said.find(method) != std::string::npos, "its error does not name " + method + ": " + said);
      std::stringstream file;
      torch::save(other, file);
      refusal("the archive of " + method, [&] { torch::load(*optimizer, file); });
      require_unchanged(before, *optimizer);
    }
  }

  void settings_saved() const {
    const std::vector<Tensor> params{param(1)}, still{param(1)};
    const auto first = make(params);
    first->set_max_norm(0.125);
    first->set_check_finite(false);
    run(*first, params, 0, 2);
    std::stringstream file;
    torch::save(*first, file);
    const auto second = make(params);
    torch::load(*second, file);
    require(second->max_norm() == 0.125, "max_norm is lost");
    set_grads(params, 2);
    if (params[0].numel() > 0) params[0].grad().fill_(std::numeric_limits<double>::quiet_NaN());
    second->set_max_norm(0.0);
    // SOAP's decompositions refuse what is not finite by themselves.
    try {
      second->step();
    } catch (const NonFiniteGradient&) {
      throw std::runtime_error("check_finite is on again");
    } catch (const std::exception&) {
    }
  }

  void invalid_options() const {
    const std::vector<Tensor> params{param(1), param(2)};
    for (const bool nan_lr : {true, false}) {
      const auto optimizer = make(params);
      run(*optimizer, params, 0, 2);
      const auto before = snapshot(*optimizer, params);
      auto& options = static_cast<MethodOptions&>(optimizer->param_groups()[0].options());
      if (nan_lr)
        options.set_lr(std::numeric_limits<double>::quiet_NaN());
      else
        options.set_weight_decay(-1.0);
      set_grads(params, 2);
      const std::string said = refusal("a step with them", [&] { optimizer->step(); });
      require(said.find(nan_lr ? "lr" : "weight_decay") != std::string::npos, "its error does not name it: " + said);
      require_unchanged(before, *optimizer);
      options.set_lr(1e-2);
      options.set_weight_decay(0.0);
      optimizer->step();
    }
    for (const auto& field : options_()->fields()) {
      // Numbers of the half-open range [0, 1) and the like.
      if (!std::holds_alternative<double*>(field.value) || !field.range.high_open) continue;
      const auto optimizer = make(params);
      run(*optimizer, params, 0, 1);
      const auto before = snapshot(*optimizer, params);
      auto& options = static_cast<MethodOptions&>(optimizer->param_groups()[0].options());
      for (const auto& live : options.fields())
        if (live.key == field.key) *std::get<double*>(live.value) = 1.5;
      set_grads(params, 1);
      refusal(field.key + " = 1.5", [&] { optimizer->step(); });
      require_unchanged(before, *optimizer);
    }
  }

  void zero_gradients() const {
    const std::vector<Tensor> params{param(1)};
    auto options = options_();
    for (const auto& field : options->fields())
      if (const std::string name = field.key; name == "eps" || name.ends_with("_eps") || name == "lambd")
        *std::get<double*>(field.value) = 0.0;
    options->set_weight_decay(0.0);
    Optimizer optimizer(Groups{{params}}, std::move(options));
    const Tensor before = params[0].detach().clone();
    params[0].mutable_grad() = torch::zeros(params[0].sizes());
    for (int step = 0; step < 3; ++step) optimizer.step();
    require(torch::equal(params[0], before), "the parameter has moved");
  }

  void overlap() const {
    if (layout_ == Layout::empty) return;
    const std::int64_t rows = shape()[0], cols = shape()[1];
    const Tensor base = torch::randn({2 * rows, cols});
    Tensor a = base.narrow(0, 0, rows), b = base.narrow(0, rows / 2, rows);
    if (layout_ == Layout::transposed || layout_ == Layout::holes) {
      const Tensor wide = torch::randn({cols, 4 * rows});
      const std::int64_t step = layout_ == Layout::holes ? 2 : 1;
      a = wide.t().slice(0, 0, rows * step, step);
      b = wide.t().slice(0, step, rows * step + step, step);
      // Side by side in one memory is no overlap.
      make({wide.t().slice(0, 0, 2 * rows, 2).requires_grad_(true),
            wide.t().slice(0, 1, 2 * rows, 2).requires_grad_(true)});
    }
    if (layout_ == Layout::single) b = base.narrow(0, 0, 1);
    const std::vector<Tensor> params{a.requires_grad_(true), b.requires_grad_(true)};
    const std::string said = refusal("such a pair", [&] { make(params, {"first", "second"}); });
    require(said.find("first") != std::string::npos && said.find("second") != std::string::npos,
            "its error does not name both: " + said);
    const Tensor spread = torch::randn({1, 6}).expand({16, 6}).requires_grad_(true);
    refusal("an expanded parameter", [&] { make({spread}); });
  }

  void versions() const {
    const std::vector<Tensor> params{param(1), param(2)};
    const auto optimizer = make(params);
    run(*optimizer, params, 0, 2);
    const std::int64_t before = params[0]._version(), other = params[1]._version();
    set_grads(params, 2);
    params[1].mutable_grad() = Tensor();
    optimizer->step();
    require(params[0]._version() > before, "a step does not raise the version");
    require(params[1]._version() == other, "the version of a parameter without gradient is raised");
    if (params[0].numel() == 0) return;
    const Tensor loss = (params[0] * params[0]).sum();
    set_grads(params, 3);
    optimizer->step();
    bool thrown = false;
    try {
      loss.backward();
    } catch (const std::exception&) {
      thrown = true;
    }
    require(thrown, "backward goes through a graph from before the step");
  }

  void options_held() const {
    const std::vector<Tensor> params{param(1)};
    const auto optimizer = make(params);
    run(*optimizer, params, 0, 1);
    std::stringstream file;
    torch::save(*optimizer, file);
    torch::optim::OptimizerOptions* held = &optimizer->param_groups()[0].options();
    held->set_lr(0.5);
    torch::load(*optimizer, file);
    require(&optimizer->param_groups()[0].options() == held, "the options are another object");
    require(held->get_lr() == options_()->get_lr(), "the object has not the lr loaded");
  }

  void initial_lr() const {
    const std::vector<Tensor> params{param(1)}, more{param(2)};
    const auto optimizer = make(params);
    run(*optimizer, params, 0, 1);
    auto clone = optimizer->param_groups()[0].options().clone();
    clone->set_lr(0.125);
    optimizer->add_param_group(torch::optim::OptimizerParamGroup(more, std::move(clone)));
    optimizer->set_lr_factor(1.0);
    require(optimizer->param_groups()[1].options().get_lr() == 0.125, "the clone trains at the other group's lr");
    const auto warm = make({param(3)});
    warm->set_lr_factor(0.5);
    warm->set_lr_factor(1.0);
    require(warm->param_groups()[0].options().get_lr() == options_()->get_lr(),
            "a factor before the first step is kept");
  }

  void group_refused() const {
    const std::vector<Tensor> params{param(1)};
    const auto optimizer = make(params);
    run(*optimizer, params, 0, 1);
    auto bad = options_();
    bad->set_lr(-1.0);
    refusal("a group of lr -1",
            [&] { optimizer->add_param_group(torch::optim::OptimizerParamGroup({param(2)}, std::move(bad))); });
    refusal("a group of torch's options", [&] {
      optimizer->add_param_group(
          torch::optim::OptimizerParamGroup({param(2)}, std::make_unique<torch::optim::AdamWOptions>(1e-3)));
    });
    refusal("a group on the meta device", [&] {
      optimizer->add_param_group(
          torch::optim::OptimizerParamGroup({torch::empty({4, 4}, torch::kMeta).requires_grad_(true)}));
    });
    require(optimizer->param_groups().size() == 1, "the group is kept");
    run(*optimizer, params, 1, 2);
  }

  MakeOptions options_;
  Layout layout_;
};

// What must hold of a method's steps themselves, each thrown as std::runtime_error where it does not.
class StepPrograms {
 public:
  using Program = void (StepPrograms::*)() const;

  explicit StepPrograms(MakeOptions options) : options_(std::move(options)) {}

  static std::vector<std::pair<const char*, Program>> all() {
    return {{"the number of threads and the order of parameters change no bit", &StepPrograms::threads_and_order},
            {"the sums are those of copies before and after", &StepPrograms::sums}};
  }

 private:
  using Tensor = torch::Tensor;

  static void require(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error(what);
  }

  // Matrices that cross the borders of chunks and blocks, small ones and an empty one.
  static std::vector<Tensor> params(torch::Dtype dtype) {
    torch::manual_seed(5);
    std::vector<Tensor> out;
    for (const std::vector<std::int64_t>& shape :
         std::vector<std::vector<std::int64_t>>{{131, 257}, {257, 60}, {1, 1}, {0, 4}, {17, 3}})
      out.push_back(torch::randn(shape, torch::kFloat64).to(dtype).requires_grad_(true));
    return out;
  }

  void run(Optimizer& optimizer, const std::vector<Tensor>& list, int from, int to) const {
    for (int step = from; step < to; ++step) {
      torch::manual_seed(100 + step);
      for (const Tensor& p : list) p.mutable_grad() = torch::randn(p.sizes(), torch::kFloat64).to(p.dtype());
      optimizer.step();
    }
  }

  void threads_and_order() const {
    const int threads = at::get_num_threads();
    const std::vector<Tensor> a = params(torch::kFloat32), b = params(torch::kFloat32);
    Optimizer one({torch::optim::OptimizerParamGroup(a)}, options_());
    Optimizer two({torch::optim::OptimizerParamGroup(std::vector<Tensor>(b.rbegin(), b.rend()))}, options_());
    for (Optimizer* optimizer : {&one, &two}) {
      at::set_num_threads(optimizer == &one ? 1 : 3);
      optimizer->set_max_norm(0.5);
      run(*optimizer, optimizer == &one ? a : b, 0, 3);
      optimizer->trace_next_step();
      run(*optimizer, optimizer == &one ? a : b, 3, 4);
    }
    at::set_num_threads(threads);
    for (size_t i = 0; i < a.size(); ++i) {
      require(torch::equal(a[i], b[i]), "parameter " + std::to_string(i) + " differs");
      require(one.traces()[i].predicted_decrease == two.traces()[a.size() - 1 - i].predicted_decrease,
              "the trace of parameter " + std::to_string(i) + " differs");
    }
  }

  void sums() const {
    for (const auto dtype : {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kFloat16}) {
      const std::vector<Tensor> list = params(dtype);
      Optimizer optimizer({torch::optim::OptimizerParamGroup(list)}, options_());
      optimizer.set_max_norm(1.0);
      run(optimizer, list, 0, 3);
      std::vector<Tensor> before;
      for (const Tensor& p : list) before.push_back(p.detach().to(torch::kFloat64).clone());
      optimizer.trace_next_step();
      run(optimizer, list, 3, 4);
      for (size_t i = 0; i < list.size(); ++i) {
        const Tensor delta = list[i].detach().to(torch::kFloat64) - before[i], g = list[i].grad().to(torch::kFloat64);
        const double pn = before[i].norm().item<double>(), gn = g.norm().item<double>(),
                     dn = delta.norm().item<double>(), decrease = -(g * delta).sum().item<double>();
        const TraceRow& row = optimizer.traces()[i];
        const std::string of = " of a " + std::string(c10::toString(dtype)) + " parameter";
        require(std::abs(row.param_norm - pn) <= 1e-6 * pn, "the trace param_norm is wrong" + of);
        require(std::abs(row.grad_norm - gn) <= 1e-6 * gn, "the trace grad_norm is wrong" + of);
        require(std::abs(row.update_norm - dn) <= 1e-6 * dn, "the trace update_norm is wrong" + of);
        require(std::abs(row.predicted_decrease - decrease) <= 1e-6 * gn * dn, "predicted_decrease is wrong" + of);
      }
    }
  }

  MakeOptions options_;
};

}  // namespace

std::vector<std::string> check_host_with(const MakeOptions& options) {
  std::vector<std::string> failures;
  for (const auto layout : {Layout::contiguous, Layout::transposed, Layout::holes, Layout::empty, Layout::single}) {
    const HostPrograms programs(options, layout);
    for (const auto& [name, program] : HostPrograms::all()) {
      try {
        (programs.*program)();
      } catch (const std::exception& e) {
        failures.push_back(std::string(name) + ", " + to_string(layout) + ": " + e.what());
      }
    }
  }
  return failures;
}

std::vector<std::string> check_steps_with(const MakeOptions& options) {
  std::vector<std::string> failures;
  const StepPrograms programs(options);
  for (const auto& [name, program] : StepPrograms::all()) {
    try {
      (programs.*program)();
    } catch (const std::exception& e) {
      failures.push_back(std::string(name) + ": " + e.what());
    }
  }
  return failures;
}

}  // namespace scalevec::testing
