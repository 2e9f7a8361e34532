#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "optim/method_options.hpp"
#include "optim/named_param.hpp"
#include "optim/optimizer.hpp"

namespace scalevec {

// What a rule applies to. An empty list matches everything; a list matches any of its entries; all fields must match.
struct RoleMatch {
  std::vector<ParamKind> kind;
  std::vector<NormClass> norm_class;
  std::vector<std::string> site;  // globs: * and ?
  std::vector<std::int64_t> layer;
  std::vector<ScaleSide> side;
  std::vector<ScalePart> part;
  std::vector<std::string> name;  // globs on the parameter's name

  bool matches(const NamedParam& param) const;
  int role_fields() const;   // how many fields besides the name are given
  std::string text() const;  // "kind=scale, norm_class=input"; "everything" if empty
};

// True if `text` matches the glob: * any run of characters, ? any one.
bool glob_match(std::string_view pattern, std::string_view text);

struct PolicyRule {
  RoleMatch match;
  double lr_mult = 1.0;
  std::shared_ptr<const MethodOptions> options;  // with lr = policy lr · lr_mult
};

struct PolicyRow {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t count = 0;
  ParamRole role;
  size_t rule = 0;  // index of the rule that won
  double lr_mult = 1.0;
  std::shared_ptr<const MethodOptions> options;
};

// Rules from roles to methods and their options. A rule that gives a name glob wins over one that does not, then the
// one with more fields; a tie is an error that names both, and so is a parameter that no rule matches.
struct RolePolicy {
  double lr = 0.0;
  double max_norm = 0.0;  // global clip norm; 0: no clipping
  std::vector<PolicyRule> rules;

  // {"lr": 3e-3, "max_norm": 1.0, "defaults": {options of every rule}, "rules": [{"match": {…}, "method": "adamw",
  // "lr_mult": 1, "weight_decay": 0, "decay_coupling": "l2|lr|independent|lr2", "decay_target": 0|1, "clip": true,
  // "rounding": "nearest|stochastic|compensated", "cautious": false, "cautious_decay": false, "hold_norm": false,
  // "trust_ratio": false, "update_rms": 0, "qk_clip": 0, … the method's own options}]}. A rule that names no decay has
  // none; other options default to the method's. Throws std::invalid_argument with one line that names the path, the
  // value and what is allowed; `path` leads it.
  static RolePolicy from_json(std::string_view json, const std::string& path = "");

  // One row per parameter, in order. Throws std::invalid_argument.
  std::vector<PolicyRow> resolve(const std::vector<NamedParam>& params) const;
};

// The policy in words, a sentence per rule in use: "matrix: adamw, lr 0.003, decay 0.1 (lr)."
std::string describe(const RolePolicy& policy, const std::vector<PolicyRow>& rows);

// One group per rule in use, names and roles set, max_norm set. `rows` are those that policy.resolve(params) returned.
std::unique_ptr<Optimizer> make_optimizer(const std::vector<NamedParam>& params, const RolePolicy& policy);
std::unique_ptr<Optimizer> make_optimizer(const std::vector<NamedParam>& params, const RolePolicy& policy,
                                          const std::vector<PolicyRow>& rows);

}  // namespace scalevec
