#include "optim/role_policy.hpp"

#include <algorithm>
#include <map>

#include "optim/config/option_json.hpp"
#include "optim/optimizer_parts.hpp"
#include "optim/qk_clip.hpp"
#include "optim/role_policy_json.hpp"

namespace scalevec {
namespace {

template <class E>
std::vector<E> words(JsonReader& in, const char* key, std::optional<E> (*parse)(std::string_view),
                     const char* allowed) {
  std::vector<E> out;
  if (in.has(key) && in.strings(key, {}).empty()) in.fail(key, std::string("one or more of ") + allowed);
  for (const std::string& word : in.strings(key, {})) {
    const auto value = parse(word);
    if (!value) in.fail(key, allowed);
    out.push_back(*value);
  }
  return out;
}

RoleMatch read_match(JsonReader in) {
  RoleMatch match;
  match.kind = words<ParamKind>(in, "kind", parse_param_kind, "embedding, unembedding, matrix, router, bias, scale");
  match.norm_class = words<NormClass>(in, "norm_class", parse_norm_class, "none, input, output");
  match.site = in.strings("site", {});
  match.layer = in.integers("layer", {}, Range::at_least(-1));
  match.side = words<ScaleSide>(in, "side", parse_scale_side, "none, before, after");
  match.part = words<ScalePart>(in, "part", parse_scale_part, "none, value, magnitude, direction");
  match.name = in.strings("name", {});
  for (const char* key : {"site", "layer", "name"})
    if (in.has(key) && match.site.empty() && match.layer.empty() && match.name.empty())
      in.fail(key, "at least one entry");
  in.finish();
  return match;
}

void read_rule(JsonReader& in, MethodOptions& options) {
  read_options(in, rule_fields(options));
  if (options.decay_target() != 0.0 && options.decay_target() != 1.0) in.fail("decay_target", "0, 1");
}

// Options that any method has, so that a default may be one that only some rules' methods take.
void check_defaults(JsonReader& in) {
  for (const std::string& name : method_names()) {
    const auto options = make_method_options(name);
    for (const Option& field : rule_fields(*options)) in.has(field.key);
  }
  in.choice("method", "adamw", method_names());
  in.finish();
}

bool any_glob(const std::vector<std::string>& globs, std::string_view text) {
  return std::any_of(globs.begin(), globs.end(), [&](const auto& g) { return glob_match(g, text); });
}

template <class V, class T>
bool allows(const V& values, const T& value) {
  return values.empty() || std::find(values.begin(), values.end(), value) != values.end();
}

template <class V, class F>
void append(std::string& text, const char* key, const V& values, F word) {
  if (values.empty()) return;
  if (!text.empty()) text += ", ";
  text += key;
  const char* separator = "=";
  for (const auto& v : values) {
    text += separator;
    text += word(v);
    separator = "|";
  }
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool RoleMatch::matches(const NamedParam& param) const {
  const ParamRole& role = param.role;
  return allows(kind, role.kind) && allows(norm_class, role.norm_class) && allows(layer, std::int64_t{role.layer}) &&
         allows(side, role.side) && allows(part, role.part) && (site.empty() || any_glob(site, role.site)) &&
         (name.empty() || any_glob(name, param.name));
}

int RoleMatch::role_fields() const {
  return !kind.empty() + !norm_class.empty() + !site.empty() + !layer.empty() + !side.empty() + !part.empty();
}

std::string RoleMatch::text() const {
  std::string out;
  const auto word = [](auto v) { return std::string(to_string(v)); };
  const auto same = [](const std::string& s) { return s; };
  append(out, "kind", kind, word);
  append(out, "norm_class", norm_class, word);
  append(out, "site", site, same);
  append(out, "layer", layer, [](std::int64_t v) { return std::to_string(v); });
  append(out, "side", side, word);
  append(out, "part", part, word);
  append(out, "name", name, same);
  return out.empty() ? "everything" : out;
}

RolePolicy RolePolicy::from_json(std::string_view text, const std::string& path) {
  const nlohmann::json root = parse_json(text, path.empty() ? "policy" : path);
  return read_role_policy(JsonReader(root, path));
}

RolePolicy read_role_policy(JsonReader in) {
  in.expect({"lr", "max_norm", "defaults", "rules"});
  RolePolicy policy;
  policy.lr = in.number("lr", Range::at_least(0.0));
  policy.max_norm = in.number("max_norm", 0.0, Range::at_least(0.0));
  JsonReader defaults = in.object("defaults");
  check_defaults(defaults);
  std::vector<JsonReader> rules = in.objects("rules");
  if (rules.empty()) in.fail("rules", "an array of one or more rules");
  for (JsonReader& rule : rules) {
    PolicyRule out;
    out.match = read_match(rule.object("match"));
    const std::string method =
        rule.choice("method", defaults.choice("method", "adamw", method_names()), method_names());
    out.lr_mult = rule.number("lr_mult", 1.0, Range::at_least(0.0));
    auto options = make_method_options(method);
    read_rule(defaults, *options);
    read_rule(rule, *options);
    rule.finish();
    options->set_lr(policy.lr * out.lr_mult);
    options->set_initial_lr(policy.lr * out.lr_mult);
    if (const std::string error = options->error(); !error.empty()) {
      const size_t key = error.find(':');
      throw ConfigError(rule.path(error.substr(0, key)) + error.substr(key));
    }
    out.options = std::move(options);
    policy.rules.push_back(std::move(out));
  }
  return policy;
}

std::vector<PolicyRow> RolePolicy::resolve(const std::vector<NamedParam>& params) const {
  std::vector<PolicyRow> rows;
  std::map<std::string, size_t> names;
  for (const NamedParam& param : params) {
    if (!names.emplace(param.name, names.size()).second)
      throw ConfigError("the parameter name " + param.name + " is given twice");
    const auto rank = [](const PolicyRule& r) { return std::pair(!r.match.name.empty(), r.match.role_fields()); };
    std::vector<size_t> best;
    for (size_t i = 0; i < rules.size(); ++i) {
      if (!rules[i].match.matches(param)) continue;
      if (!best.empty() && rank(rules[i]) < rank(rules[best[0]])) continue;
      if (!best.empty() && rank(rules[best[0]]) < rank(rules[i])) best.clear();
      best.push_back(i);
    }
    const std::string who = param.name + " (" + describe(param.role) + ")";
    if (best.empty()) throw ConfigError("no rule of the policy matches " + who);
    if (best.size() > 1)
      throw ConfigError("rules " + std::to_string(best[0]) + " (" + rules[best[0]].match.text() + ") and " +
                        std::to_string(best[1]) + " (" + rules[best[1]].match.text() + ") both match " + who +
                        " equally closely; add a field to the one that should win");
    const PolicyRule& rule = rules[best[0]];
    const std::string misfit = shape_error(*rule.options, param.tensor.sizes(), param.role.row_blocks);
    if (!misfit.empty()) throw ConfigError(who + ": " + misfit + " (rule " + std::to_string(best[0]) + ")");
    rows.push_back({param.name, param.tensor.sizes().vec(), param.tensor.numel(), param.role, best[0], rule.lr_mult,
                    rule.options});
  }
  std::vector<QkCandidate> candidates;
  for (const PolicyRow& row : rows) candidates.push_back({row.name, &row.role, row.shape, row.options.get()});
  try {
    find_qk_maps(candidates);
  } catch (const std::invalid_argument& e) {
    throw ConfigError(e.what());
  }
  return rows;
}

std::string describe(const RolePolicy& policy, const std::vector<PolicyRow>& rows) {
  std::string out;
  for (size_t r = 0; r < policy.rules.size(); ++r) {
    if (std::none_of(rows.begin(), rows.end(), [&](const PolicyRow& row) { return row.rule == r; })) continue;
    const MethodOptions& o = *policy.rules[r].options;
    out += (out.empty() ? "" : " ") + policy.rules[r].match.text() + ": " + std::string(o.method()) + ", lr " +
           number_text(o.lr());
    if (policy.rules[r].lr_mult != 1.0) out += " (" + number_text(policy.rules[r].lr_mult) + " times the base)";
    if (o.weight_decay() == 0.0)
      out += ", no decay";
    else
      out += ", decay " + number_text(o.weight_decay()) + " toward " + number_text(o.decay_target()) + " (coupling " +
             std::string(to_string(o.decay_coupling())) + ")";
    if (o.rounding() != "nearest") out += ", " + o.rounding() + " rounding";
    if (o.cautious()) out += ", cautious";
    if (o.cautious_decay()) out += ", cautious decay";
    if (o.hold_norm()) out += ", norm held";
    if (o.trust_ratio()) out += ", trust ratio";
    if (o.update_rms() != 0.0) out += ", updates of root mean square " + number_text(o.update_rms()) + " lr";
    if (o.qk_clip() != 0.0) out += ", attention logits clipped at " + number_text(o.qk_clip());
    if (policy.max_norm > 0.0 && !o.clip()) out += ", outside the clip norm";
    out += ".";
  }
  if (policy.max_norm > 0.0) out += " Global clip norm " + number_text(policy.max_norm) + ".";
  return out;
}

std::unique_ptr<Optimizer> make_optimizer(const std::vector<NamedParam>& params, const RolePolicy& policy) {
  return make_optimizer(params, policy, policy.resolve(params));
}

std::unique_ptr<Optimizer> make_optimizer(const std::vector<NamedParam>& params, const RolePolicy& policy,
                                          const std::vector<PolicyRow>& rows) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (size_t r = 0; r < policy.rules.size(); ++r) {
    std::vector<torch::Tensor> members;
    for (size_t i = 0; i < params.size(); ++i)
      if (rows[i].rule == r) members.push_back(params[i].tensor);
    if (!members.empty()) groups.emplace_back(std::move(members), policy.rules[r].options->clone());
  }
  auto defaults = make_method_options("adamw");
  defaults->set_lr(policy.lr);
  auto optimizer = std::make_unique<Optimizer>(groups, std::move(defaults), params);
  optimizer->set_max_norm(policy.max_norm);
  return optimizer;
}

}  // namespace scalevec
