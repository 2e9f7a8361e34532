#include "optim/core/decay.hpp"

namespace scalevec {

std::string_view to_string(DecayCoupling coupling) {
  switch (coupling) {
    case DecayCoupling::l2:
      return "l2";
    case DecayCoupling::lr:
      return "lr";
    case DecayCoupling::independent:
      return "independent";
    case DecayCoupling::lr2:
      return "lr2";
  }
  return "?";
}

std::optional<DecayCoupling> parse_decay_coupling(std::string_view word) {
  for (const auto c : {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent, DecayCoupling::lr2})
    if (to_string(c) == word) return c;
  return std::nullopt;
}

}  // namespace scalevec
