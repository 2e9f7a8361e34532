#pragma once

#include "optim/config/json_reader.hpp"
#include "optim/role_policy.hpp"

namespace scalevec {

// RolePolicy::from_json() of JSON that is read already. Throws ConfigError. Not installed.
RolePolicy read_role_policy(JsonReader in);

}  // namespace scalevec
