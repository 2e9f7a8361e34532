// Our side of scripts/gpu_check.sh: bench_cuda WHAT [CONFIG.json] [options]. Prints one JSON object.
//   copy                 bandwidth of a copy within the device, bytes read and written
//   step                 AdamW, without and with sums, and at::_fused_adamw_, in turns
//   muon                 a step of Muon on the matrices of a 124M decoder
//   ops                  each operator of models/ops, what it is composed of, and LibTorch's own fused one if there is
//                        one: forward and backward, in turns
//   methods CONFIG.json  every method on the device against the CPU
//   train CONFIG.json    losses, tokens/s and memory of a run
#include <ATen/ATen.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "experiments/train/session.hpp"
#include "models/ops/fused.hpp"
#include "optim/method.hpp"
#include "optim/methods.hpp"

#if defined(SCALEVEC_CUDA)
#include <c10/cuda/CUDACachingAllocator.h>
#endif

namespace {

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;
using torch::Tensor;
using Tensors = std::vector<Tensor>;
using Work = std::function<void()>;

struct Settings {
  std::string what, config;
  torch::Device device = torch::kCUDA;
  bool small = false;  // sizes for a rehearsal on the CPU
  bool graph = true;
  std::int64_t steps = 20, rounds = 9, traces = 0;
};

void wait(const Settings& s) {
  if (s.device.is_cuda()) torch::cuda::synchronize();
}

double seconds(const Settings& s, std::int64_t repeats, const Work& work) {
  wait(s);
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < repeats; ++i) work();
  wait(s);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / static_cast<double>(repeats);
}

json spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {{"median", values[values.size() / 2]}, {"least", values.front()}, {"most", values.back()}};
}

// Every job's seconds, in turns: the medians and extremes of the rounds.
json in_turns(const Settings& s, std::int64_t repeats, const std::vector<std::pair<std::string, Work>>& jobs) {
  std::map<std::string, std::vector<double>> took;
  for (const auto& [name, work] : jobs)
    for (int i = 0; i < 3; ++i) work();
  for (std::int64_t round = 0; round < s.rounds; ++round)
    for (const auto& [name, work] : jobs) took[name].push_back(seconds(s, repeats, work));
  json out;
  for (auto& [name, values] : took) out[name] = spread(std::move(values));
  return out;
}

json copy(const Settings& s) {
  const torch::NoGradGuard no_grad;
  const std::int64_t bytes = s.small ? 1 << 24 : std::int64_t{1} << 32;
  const Tensor from = torch::randn({bytes / 4}, torch::dtype(torch::kFloat32).device(s.device));
  Tensor to = torch::empty_like(from);
  json out = in_turns(s, s.small ? 1 : 10, {{"copy", [&] { to.copy_(from); }}});
  out["gb_per_s"] = 2e-9 * static_cast<double>(bytes) / out["copy"]["median"].get<double>();
  return out;
}

struct Shape {
  std::int64_t layers = 12, width = 768, hidden = 2048, vocab = 50304;
};

Shape decoder_shape(const Settings& s) { return s.small ? Shape{2, 64, 192, 512} : Shape{}; }

Tensors matrices(const Shape& shape) {
  Tensors out;
  const std::int64_t w = shape.width, h = shape.hidden;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer)
    for (const auto& [rows, cols] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{w, w}, {w, w}, {w, w}, {w, w}, {h, w}, {h, w}, {w, h}})
      out.push_back(torch::empty({rows, cols}, torch::kMeta));
  return out;
}

Tensors decoder_tensors(const Shape& shape) {
  Tensors out = matrices(shape);
  out.push_back(torch::empty({shape.vocab, shape.width}, torch::kMeta));
  for (std::int64_t k = 0; k < 2 * shape.layers + 1; ++k) out.push_back(torch::empty({shape.width}, torch::kMeta));
  return out;
}

Tensors made(const Tensors& shapes, torch::Device device) {
  Tensors out;
  for (const Tensor& t : shapes) {
    out.push_back(torch::randn(t.sizes(), torch::dtype(torch::kFloat32).device(device)).requires_grad_(true));
    out.back().mutable_grad() = torch::randn(t.sizes(), torch::dtype(torch::kFloat32).device(device));
  }
  return out;
}

json step_of(const Settings& s, const Tensors& shapes) {
  const Tensors params = made(shapes, s.device);
  AdamW ours(params, AdamWOptions(1e-5));
  ours.set_check_finite(false);
  Tensors values, grads, m, v, none, counts;
  double elements = 0.0;
  for (const Tensor& p : params) {
    values.push_back(p.detach());
    grads.push_back(p.grad());
    m.push_back(torch::zeros_like(values.back()));
    v.push_back(torch::zeros_like(values.back()));
    counts.push_back(torch::zeros({}, torch::dtype(torch::kFloat32).device(s.device)));
    elements += static_cast<double>(p.numel());
  }
  json out =
      in_turns(s, s.small ? 1 : 20,
               {{"ours", [&] { ours.step(); }},
                {"ours, with sums",
                 [&] {
                   ours.trace_next_step();
                   ours.step();
                 }},
                {"_fused_adamw_", [&] {
                   const torch::NoGradGuard no_grad;
                   at::_foreach_add_(counts, 1);
                   at::_fused_adamw_(values, grads, m, v, none, counts, 1e-5, 0.9, 0.999, 1e-2, 1e-8, false, false);
                 }}});
  out["parameters"] = elements;
  for (const char* job : {"ours", "ours, with sums", "_fused_adamw_"})
    out[job]["gb_per_s"] = 28e-9 * elements / out[job]["median"].get<double>();
  return out;
}

json step(const Settings& s) {
  const std::int64_t large = s.small ? 1 << 18 : std::int64_t{1} << 28;
  return {{"decoder of 124M", step_of(s, decoder_tensors(decoder_shape(s)))},
          {"one tensor", step_of(s, {torch::empty({large}, torch::kMeta)})}};
}

json muon(const Settings& s) {
  const Tensors params = made(matrices(decoder_shape(s)), s.device);
  Muon ours(params, MuonOptions(1e-5));
  json out = in_turns(s, s.small ? 1 : 5, {{"ours", [&] { ours.step(); }}});
  out["matrices"] = params.size();
  return out;
}

json ops(const Settings& s) {
  namespace fused = models::ops;
  namespace composed = models::ops::composed;
  const std::int64_t batch = s.small ? 2 : 16, length = s.small ? 32 : 1024, heads = s.small ? 2 : 12, d = 64;
  const Shape shape = decoder_shape(s);
  json out;
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    const auto options = torch::dtype(type).device(s.device);
    const auto input = [&](std::vector<std::int64_t> sizes) {
      return torch::randn(sizes, options).requires_grad_(true);
    };
    const Tensor x = input({batch, length, heads * d}), y = input({batch, length, heads * d}),
                 gamma = input({heads * d}), q = input({batch, length, heads, d}), of_head = input({d}),
                 gate = input({batch, length, shape.hidden}), up = input({batch, length, shape.hidden}),
                 logits = input({s.small ? 64 : 8192, shape.vocab}),
                 target = torch::zeros({logits.size(0)}, torch::kInt64).to(s.device),
                 cos = torch::rand({length, d / 2}, torch::dtype(torch::kFloat32).device(s.device)),
                 sin = torch::rand_like(cos);
    // Gradients are not added to those of the call before.
    const auto with_backward = [&](const std::function<Tensor()>& form) {
      return [&, form] {
        for (const Tensor& t : {x, y, gamma, q, of_head, gate, up, logits}) t.mutable_grad() = Tensor();
        const Tensor result = form();
        result.backward(torch::ones_like(result));
      };
    };
    struct Forms {
      std::string name;
      std::function<Tensor()> ours, composed, library;
    };
    const auto library_norm = [&](const Tensor& of) {
      return std::get<0>(at::_fused_rms_norm(of, {of.size(-1)}, gamma, 1e-6));
    };
    const std::vector<Forms> forms{
        {"rms_norm", [&] { return fused::rms_norm(x, gamma, 1e-6); },
         [&] { return composed::rms_norm(x, gamma, 1e-6); }, [&] { return library_norm(x); }},
        {"rms_norm_of_sum", [&] { return fused::rms_norm_of_sum(x, y, gamma, 1e-6).normed; },
         [&] { return composed::rms_norm(x + y, gamma, 1e-6); }, [&] { return library_norm(x + y); }},
        {"rotate", [&] { return fused::rotate(q, cos, sin); }, [&] { return composed::rotate(q, cos, sin); }, {}},
        {"norm_rotate",
         [&] { return fused::norm_rotate(q, of_head, cos, sin, true, 1e-6); },
         [&] { return composed::norm_rotate(q, of_head, cos, sin, true, 1e-6); },
         {}},
        {"swiglu", [&] { return fused::swiglu(gate, up); }, [&] { return composed::swiglu(gate, up); }, {}},
        {"normed_swiglu",
         [&] { return fused::normed_swiglu(gate, up, {}, 1e-6); },
         [&] { return composed::normed_swiglu(gate, up, {}, 1e-6); },
         {}},
        {"cross_entropy",
         [&] { return fused::cross_entropy(logits, target); },
         [&] { return composed::cross_entropy(logits, target); },
         {}}};
    for (const Forms& form : forms) {
      std::vector<std::pair<std::string, Work>> jobs{{"ours", with_backward(form.ours)},
                                                     {"composed", with_backward(form.composed)}};
      if (form.library) jobs.emplace_back("LibTorch", with_backward(form.library));
      out[std::string(c10::toString(type)) + " " + form.name] = in_turns(s, s.small ? 1 : 10, jobs);
    }
  }
  return out;
}

json read(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error(file + ": cannot be read");
  return json::parse(in, nullptr, true, /*ignore_comments=*/true);
}

std::unique_ptr<Session> session(const json& config, const torch::Device& device, bool graph) {
  json on = config;
  on["device"] = device.is_cuda() ? "cuda" : "cpu";
  auto made = std::make_unique<Session>(read_run_config(on));
  if (!graph && device.is_cuda()) made->use_device(nullptr);
  return made;
}

json losses(Session& of, std::int64_t steps) {
  json out = json::array();
  for (std::int64_t i = 0; i < steps; ++i) out.push_back(of.step(false, 0, true).loss);
  return out;
}

// A method of matrices has AdamW beside it. The largest relative gap of the losses, and of the weights at the end by ‖a
// − b‖/‖b‖.
json every_method(const Settings& s) {
  json out;
  for (const std::string& name : method_names()) {
    json config = read(s.config);
    const auto options = make_method_options(name);
    const auto* matrix = dynamic_cast<const MatrixMethod*>(&options->implementation());
    if (matrix && !matrix->any_shape())
      config["optimizer"]["rules"] = {{{"match", {{"kind", "matrix"}}}, {"method", name}, {"weight_decay", 0.1}},
                                      {{"match", json::object()}}};
    else
      config["optimizer"]["defaults"]["method"] = name;
    // By default its first 501 steps fit, and none would be recorded.
    if (name == "kron") config["optimizer"]["defaults"].update({{"flat_start", 1}, {"prob_decay", 0.5}});
    try {
      const auto host = session(config, torch::kCPU, false), on = session(config, s.device, s.graph);
      const json a = losses(*host, s.steps), b = losses(*on, s.steps);
      double loss = 0.0, weight = 0.0;
      for (std::size_t i = 0; i < a.size(); ++i)
        loss = std::max(loss, std::abs(a[i].get<double>() - b[i].get<double>()) / std::abs(a[i].get<double>()));
      for (std::size_t i = 0; i < host->params().size(); ++i) {
        const Tensor x = host->params()[i].tensor.detach().to(torch::kFloat64),
                     y = on->params()[i].tensor.detach().to(torch::kCPU, torch::kFloat64);
        weight = std::max(weight, ((x - y).norm() / x.norm()).item<double>());
      }
      out[name] = {{"loss_gap", loss}, {"weight_gap", weight}};
    } catch (const Divergence& d) {
      out[name] = {{"error", d.reason}};
    } catch (const std::exception& e) {
      out[name] = {{"error", std::string(e.what()).substr(0, std::string(e.what()).find('\n'))}};
    }
  }
  return out;
}

double peak_bytes([[maybe_unused]] const torch::Device& device) {
#if defined(SCALEVEC_CUDA)
  if (device.is_cuda()) {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    return static_cast<double>(stats.reserved_bytes[static_cast<std::size_t>(0)].peak);
  }
#endif
  return std::numeric_limits<double>::quiet_NaN();
}

// Ten steps first, then `rounds` times `steps`, waited for at the end of each round.
json train(const Settings& s) {
  const auto on = session(read(s.config), s.device, s.graph);
  json out{{"losses", losses(*on, 10)}};
  std::vector<double> rates;
  std::int64_t made = 0;
  for (std::int64_t round = 0; round < s.rounds; ++round) {
    double last = 0.0;
    const double took = seconds(s, 1, [&] {
      for (std::int64_t i = 0; i < s.steps; ++i, ++made) {
        const bool trace = s.traces > 0 && made % s.traces == 0;
        const StepResult result = on->step(trace, 0, i + 1 == s.steps);
        if (result.known) last = result.loss;
      }
    });
    out["losses"].push_back(last);
    rates.push_back(static_cast<double>(s.steps * on->tokens_per_step()) / took);
  }
  out["tokens_per_s"] = spread(rates);
  out["tokens_per_step"] = on->tokens_per_step();
  double parameters = 0.0;
  for (const NamedParam& p : on->params()) parameters += static_cast<double>(p.tensor.numel());
  out["parameters"] = parameters;
  out["peak_bytes"] = peak_bytes(s.device);
  return out;
}

int usage() {
  std::cerr << "usage: bench_cuda copy|step|muon|ops|methods|train [CONFIG.json] [--device cuda|cpu] [--small] "
               "[--no-graph] [--steps N] [--rounds N] [--traces N]\n";
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, json (*)(const Settings&)> all{
      {"copy", copy}, {"step", step}, {"muon", muon}, {"ops", ops}, {"methods", every_method}, {"train", train}};
  Settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--small")
      s.small = true;
    else if (word == "--no-graph")
      s.graph = false;
    else if (word == "--device" && more)
      s.device = torch::Device(argv[++i]);
    else if (word == "--steps" && more)
      s.steps = std::stoll(argv[++i]);
    else if (word == "--rounds" && more)
      s.rounds = std::stoll(argv[++i]);
    else if (word == "--traces" && more)
      s.traces = std::stoll(argv[++i]);
    else if (s.what.empty() && all.count(word))
      s.what = word;
    else if (s.config.empty() && !word.starts_with("--"))
      s.config = word;
    else
      return usage();
  }
  const bool needs_config = s.what == "methods" || s.what == "train";
  if (s.what.empty() || needs_config == s.config.empty()) return usage();
  try {
    if (s.device.is_cuda() && !torch::cuda::is_available()) throw std::runtime_error("no CUDA device");
    torch::manual_seed(1);
    std::cout << all.at(s.what)(s).dump(2) << std::endl;
  } catch (const Divergence& d) {
    std::cerr << "bench_cuda: " << d.reason << '\n';
    return 1;
  } catch (const std::exception& e) {
    std::cerr << "bench_cuda: " << e.what() << '\n';
    return 1;
  }
}
