#include "optim/method_options.hpp"

#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "optim/method.hpp"

namespace scalevec {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

struct Writer {
  torch::serialize::OutputArchive& archive;
  const char* name;
  void operator()(const double* v) const { archive.write(name, c10::IValue(*v)); }
  void operator()(const bool* v) const { archive.write(name, c10::IValue(*v)); }
  void operator()(const std::int64_t* v) const { archive.write(name, c10::IValue(*v)); }
  void operator()(const std::string* v) const { archive.write(name, c10::IValue(*v)); }
  void operator()(const DecayCoupling* v) const { archive.write(name, c10::IValue(std::string(to_string(*v)))); }
};

struct Reader {
  torch::serialize::InputArchive& archive;
  const char* name;
  c10::IValue value() const {
    c10::IValue v;
    archive.read(name, v);
    return v;
  }
  void operator()(double* v) const { *v = value().toDouble(); }
  void operator()(bool* v) const { *v = value().toBool(); }
  void operator()(std::int64_t* v) const { *v = value().toInt(); }
  void operator()(std::string* v) const { *v = value().toStringRef(); }
  void operator()(DecayCoupling* v) const {
    const auto coupling = parse_decay_coupling(value().toStringRef());
    TORCH_CHECK(coupling, "saved optimizer options: unknown decay_coupling ", value().toStringRef());
    *v = *coupling;
  }
};

std::string bound(double x) {
  std::ostringstream out;
  out << x;
  return out.str();
}

}  // namespace

OptionField option_field(const char* name, decltype(OptionField::value) value, const OptionRange& range,
                         const char* meaning) {
  OptionField field{name, value, range.low, range.high, range.high_open, {}, range.later, meaning};
  std::istringstream words(range.words);
  for (std::string word; std::getline(words >> std::ws, word, ',');) field.choices.push_back(word);
  return field;
}

std::vector<OptionField> MethodOptions::fields() {
  return {{"lr", &lr_, 0.0, kInf, false, {}},
          {"initial_lr", &initial_lr_, -1.0, kInf, false, {}},
          {"weight_decay", &weight_decay_, 0.0, kInf, false, {}},
          {"decay_target", &decay_target_, 0.0, 1.0, false, {}},
          {"decay_coupling", &decay_coupling_, 0, 0, false, {}},
          {"clip", &clip_, 0, 0, false, {}},
          {"rounding", &rounding_, 0, 0, false, {"nearest", "stochastic", "compensated"}, true},
          {"cautious", &cautious_, 0, 0, false, {}, true},
          {"cautious_decay", &cautious_decay_, 0, 0, false, {}, true},
          {"hold_norm", &hold_norm_, 0, 0, false, {}, true},
          {"trust_ratio", &trust_ratio_, 0, 0, false, {}, true},
          {"update_rms", &update_rms_, 0.0, kInf, false, {}, true},
          {"qk_clip", &qk_clip_, 0.0, kInf, false, {}, true}};
}

std::string MethodOptions::error() const {
  for (const OptionField& f : const_cast<MethodOptions*>(this)->fields()) {
    if (const auto* v = std::get_if<double*>(&f.value)) {
      const double x = **v;
      if (std::isfinite(x) && x >= f.low && (f.high_open ? x < f.high : x <= f.high)) continue;
      return std::string(f.name) + ": got " + bound(x) + "; allowed: [" + bound(f.low) + ", " + bound(f.high) +
             (f.high_open || std::isinf(f.high) ? ")" : "]");
    }
    if (const auto* v = std::get_if<std::int64_t*>(&f.value)) {
      if (static_cast<double>(**v) >= f.low && static_cast<double>(**v) <= f.high) continue;
      return std::string(f.name) + ": got " + std::to_string(**v) + "; allowed: [" + bound(f.low) + ", " +
             bound(f.high) + "]";
    }
  }
  for (const OptionField& f : const_cast<MethodOptions*>(this)->fields()) {
    const auto* v = std::get_if<std::string*>(&f.value);
    if (!v || std::find(f.choices.begin(), f.choices.end(), **v) != f.choices.end()) continue;
    std::string allowed;
    for (const std::string& word : f.choices) allowed += (allowed.empty() ? "" : ", ") + word;
    return std::string(f.name) + ": got " + **v + "; allowed: " + allowed;
  }
  if (decay_target_ != 0.0 && decay_target_ != 1.0)
    return "decay_target: got " + bound(decay_target_) + "; allowed: 0, 1";
  const std::string why = modifier_conflict();
  return why.empty() ? conflict() : why;
}

std::string MethodOptions::modifier_conflict() const {
  if (!modified() && qk_clip_ == 0.0) return {};
  const char* first = cautious_            ? "cautious"
                      : cautious_decay_    ? "cautious_decay"
                      : hold_norm_         ? "hold_norm"
                      : trust_ratio_       ? "trust_ratio"
                      : update_rms_ != 0.0 ? "update_rms"
                                           : "qk_clip";
  if (!implementation().takes_modifiers())
    return std::string(first) + ": the step of " + std::string(method()) + " cannot be modified; allowed: " +
           (std::string_view(first) == "update_rms" || std::string_view(first) == "qk_clip" ? "0" : "false");
  if (hold_norm_ + trust_ratio_ + (update_rms_ != 0.0) > 1)
    return std::string(hold_norm_ ? "hold_norm: got true with " : "trust_ratio: got true with ") +
           (hold_norm_ && trust_ratio_ ? "trust_ratio" : "update_rms") +
           "; allowed: one of hold_norm, trust_ratio, update_rms";
  if (hold_norm_ && weight_decay_ != 0.0)
    return "weight_decay: got " + bound(weight_decay_) + " with hold_norm; allowed: 0";
  if (hold_norm_ && qk_clip_ != 0.0)
    return "qk_clip: got " + bound(qk_clip_) + " with hold_norm, whose next step restores the norm; allowed: 0";
  if (cautious_decay_ && weight_decay_ != 0.0 && decay_coupling_ == DecayCoupling::l2)
    return "cautious_decay: got true with decay_coupling l2; allowed: with lr, independent, lr2";
  return {};
}

bool MethodOptions::shares(const MethodOptions& other) const {
  return lr_ == other.lr_ && initial_lr_ == other.initial_lr_ && weight_decay_ == other.weight_decay_ &&
         decay_target_ == other.decay_target_ && decay_coupling_ == other.decay_coupling_ && clip_ == other.clip_ &&
         rounding_ == other.rounding_ && cautious_ == other.cautious_ && cautious_decay_ == other.cautious_decay_ &&
         hold_norm_ == other.hold_norm_ && trust_ratio_ == other.trust_ratio_ && update_rms_ == other.update_rms_ &&
         qk_clip_ == other.qk_clip_;
}

void MethodOptions::serialize(torch::serialize::OutputArchive& archive) const {
  for (const OptionField& f : const_cast<MethodOptions*>(this)->fields()) std::visit(Writer{archive, f.name}, f.value);
}

void MethodOptions::serialize(torch::serialize::InputArchive& archive) {
  for (const OptionField& f : fields()) {
    c10::IValue value;
    if (f.later && !archive.try_read(f.name, value)) continue;
    std::visit(Reader{archive, f.name}, f.value);
  }
}

}  // namespace scalevec
