#pragma once

#include "optim/methods/adamw.hpp"
#include "optim/methods/block_method.hpp"

namespace scalevec::methods {

// AdamW whose two means are codes of 8 bits with a scale per 256 elements. State: 2 bytes per element and 8 per block.
struct AdamW8bit : AdamW {
  static constexpr const char* kName = "adamw8bit";
  static constexpr const char* kSource = "Dettmers et al., arXiv 2110.02861";
  static constexpr std::array kSigned{true, false};

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of g; torch.optim.AdamW"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of g²; torch.optim.AdamW"),
                   (double, eps, 1e-8, kNonnegative, "added to √v̂, 0/0 is no update; torch.optim.AdamW"))

  // AdamW's without `amsgrad`.
  struct Rule : AdamW {
    using Values = AdamW8bit::Values;
    static constexpr std::array kState{"exp_avg", "exp_avg_sq"};
    static constexpr unsigned kOptional = 0;

    SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

    template <class Step>
    SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
      return AdamW::constants({o.beta1, o.beta2, o.eps, false}, s);
    }

    template <class T>
    SCALEVEC_HD static T update(const Constants<T>& c, T p, T g, T& m, T& v, T& inv_denom) {
      Absent largest;
      return AdamW::update(c, p, g, m, v, largest, inv_denom);
    }
  };
};

}  // namespace scalevec::methods
