#include "optim/method_options.hpp"

#include <torch/serialize/archive.h>

#include <algorithm>
#include <sstream>

#include "optim/method.hpp"

namespace scalevec {
namespace {

template <class T>
constexpr bool kArchived = std::is_same_v<T, double*> || std::is_same_v<T, bool*> || std::is_same_v<T, std::int64_t*> ||
                           std::is_same_v<T, std::string*>;

[[noreturn]] void refuse_kind(const std::string& name) {
  TORCH_CHECK(false, "saved optimizer options: ", name, " is of a kind that archives do not hold");
}

void write(torch::serialize::OutputArchive& archive, const Option& option) {
  std::visit(
      [&](const auto& at) {
        using T = std::remove_cvref_t<decltype(at)>;
        if constexpr (kArchived<T>)
          archive.write(option.key, c10::IValue(*at));
        else if constexpr (std::is_same_v<T, EnumValue>)
          archive.write(option.key, c10::IValue(option.words.at(at.get(at.at))));
        else
          refuse_kind(option.key);
      },
      option.value);
}

void take(const c10::IValue& value, const Option& option) {
  std::visit(
      [&](const auto& at) {
        using T = std::remove_cvref_t<decltype(at)>;
        if constexpr (kArchived<T>) {
          *at = value.to<std::remove_pointer_t<T>>();
        } else if constexpr (std::is_same_v<T, EnumValue>) {
          const auto word = std::find(option.words.begin(), option.words.end(), value.toStringRef());
          TORCH_CHECK(word != option.words.end(), "saved optimizer options: unknown ", option.key, " ",
                      value.toStringRef());
          at.set(at.at, static_cast<size_t>(word - option.words.begin()));
        } else {
          refuse_kind(option.key);
        }
      },
      option.value);
}

}  // namespace

Option option_of(const char* name, Option::Value value, const OptionRange& range, const char* meaning) {
  Option option{name, value, range, {}, meaning};
  option.later = range.later;
  std::istringstream words(range.words);
  for (std::string word; std::getline(words >> std::ws, word, ',');) option.words.push_back(word);
  return option;
}

Options MethodOptions::shared_fields() {
  const Range nonnegative = Range::at_least(0.0);
  Options fields{{"lr", &lr_, nonnegative, {}, "learning rate of the moment"},
                 {"initial_lr", &initial_lr_, Range::at_least(-1.0), {}, "lr before the schedule; negative: not set"},
                 {"weight_decay", &weight_decay_, nonnegative, {}, "λ"},
                 {"decay_target",
                  &decay_target_,
                  Range::between(0.0, 1.0),
                  {},
                  "p̂, the value that the decay pulls toward: 0 or 1"},
                 {"decay_coupling",
                  enum_value(&decay_coupling_),
                  {},
                  {"l2", "lr", "independent", "lr2"},
                  "how λ enters; see below",
                  false,
                  true,
                  "the method's"},
                 {"clip", &clip_, {}, {}, "the gradient counts in the clip norm and is multiplied by the clip factor"}};
  Options later{
      {"rounding",
       &rounding_,
       {},
       {"nearest", "stochastic", "compensated"},
       "of parameters of 16 bits, which scalevec train does not have"},
      {"cautious", &cautious_, {}, {}, "elements whose update has not the gradient's sign stay; arXiv 2411.16085"},
      {"cautious_decay",
       &cautious_decay_,
       {},
       {},
       "decay only where the update leads toward the target too; arXiv 2510.12402"},
      {"hold_norm", &hold_norm_, {}, {}, "the parameter keeps its norm, lr is the rotation per step"},
      {"trust_ratio",
       &trust_ratio_,
       {},
       {},
       "lr times the parameter's norm is the length of the step; arXiv 1904.00962"},
      {"update_rms",
       &update_rms_,
       nonnegative,
       {},
       "lr times this is the root mean square of the update; 0: the method's own"},
      {"qk_clip",
       &qk_clip_,
       nonnegative,
       {},
       "the largest attention logit that a head of a decoder may have; 0: any; arXiv 2507.20534"}};
  for (Option& option : later) {
    option.later = true;
    fields.push_back(std::move(option));
  }
  return fields;
}

Options MethodOptions::fields() {
  Options all = shared_fields();
  for (Option& option : own_fields()) all.push_back(std::move(option));
  return all;
}

Options rule_fields(MethodOptions& options) {
  Options fields = options.fields();
  std::erase_if(fields, [](const Option& field) { return field.key == "lr" || field.key == "initial_lr"; });
  return fields;
}

std::string MethodOptions::error() const {
  if (const std::string error = option_error(const_cast<MethodOptions*>(this)->fields()); !error.empty()) return error;
  if (decay_target_ != 0.0 && decay_target_ != 1.0) return not_allowed("decay_target", decay_target_, "0, 1");
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
    return "weight_decay: got " + number_text(weight_decay_) + " with hold_norm; allowed: 0";
  if (hold_norm_ && qk_clip_ != 0.0)
    return "qk_clip: got " + number_text(qk_clip_) + " with hold_norm, whose next step restores the norm; allowed: 0";
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
  for (const Option& option : const_cast<MethodOptions*>(this)->fields()) write(archive, option);
}

void MethodOptions::serialize(torch::serialize::InputArchive& archive) {
  for (const Option& option : fields()) {
    c10::IValue value;
    if (!option.later)
      archive.read(option.key, value);
    else if (!archive.try_read(option.key, value))
      continue;
    take(value, option);
  }
}

}  // namespace scalevec
