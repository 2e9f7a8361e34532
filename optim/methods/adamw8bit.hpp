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

    struct Advance {
      template <class T>
      using Constants = AdamW::Constants<T>;
      static constexpr std::array kState = Rule::kState;
      static constexpr bool kMoves = false;

      template <class T>
      SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v) {
        AdamW::advance(c, g, m, v);
        return T(0);
      }
    };
    struct Move {
      template <class T>
      using Constants = AdamW::Constants<T>;
      static constexpr std::array kState = Rule::kState;
      static constexpr bool kAdaptive = true;

      template <class T>
      SCALEVEC_HD static T update(const Constants<T>& c, T, T, T& m, T& root_v, T& inv_denom) {
        return AdamW::step(c, m, root_v, inv_denom);
      }
    };
  };
};

}  // namespace scalevec::methods
