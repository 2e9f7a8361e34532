#include "optim/role_policy.hpp"

#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

void scalevec::fuzz::policy(std::string_view bytes) {
  try {
    const RolePolicy policy = RolePolicy::from_json(bytes, "optimizer");
    require(!policy.rules.empty(), "a policy has a rule");
    for (const PolicyRule& rule : policy.rules) {
      require(rule.options != nullptr, "a rule has options");
      rule.match.text();
      for (const std::string& glob : rule.match.name) glob_match(glob, "layers.0.attn.q.weight");
    }
  } catch (const ConfigError&) {
  }
}
