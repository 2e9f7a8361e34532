#include "experiments/commands/claims_times.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/levels.hpp"
#include "experiments/claims/method.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"

namespace scalevec::experiments {

using nlohmann::json;

void judge_times(const Plan& plan, const Tier& tier, TimesOptions options, ToyRunner toy, const std::string& command) {
  options.progress = &std::cout;
  const json turns = make_turns(plan, options);
  if (const int signal = turns.value("signal", 0)) {
    std::cout << "stopped by a signal; the same command continues\n" << std::flush;
    throw CLI::RuntimeError(128 + signal);
  }
  double seconds = 0.0;
  for (const json& turn : turns.at("turns"))
    for (const double step : numbers_at(turn, "steps")) seconds += step;
  size_t family = 0;
  for (const Claim* claim : plan.claims())
    for (const Contrast& c : claim->contrasts) family += c.decides;
  json result{{"kind", "ledger"},
              {"tier", tier.name},
              {"purpose", tier.purpose},
              {"decides", tier.decides},
              {"command", command},
              {"alpha", 0.05},
              {"family", family},
              {"method", times_method(tier, static_cast<std::int64_t>(family))},
              {"runs", {{"made", turns.at("turns").size()}, {"diverged", 0}, {"failed", json::array()}}},
              {"claims", judge_turns(plan, turns)}};
  json& provenance = result["provenance"];
  provenance["seconds"] = seconds;
  for (const char* key : {"machine", "git_commit"}) provenance[key] = {text_at(turns, key)};
  for (size_t i = 0; i < plan.claims().size(); ++i)
    add_levels(result["claims"][i], *plan.claims()[i], toy, options.out);
  write_record(options.out / "claims.json", result.dump(2) + "\n");
  const json shown = joined_ledgers({result});
  write_file(options.out / "claims.html", ledger_page(shown, options.out));
  std::cout << '\n' << ledger_text(shown) << "\nledger: " << (options.out / "claims.html").string() << std::endl;
}

}  // namespace scalevec::experiments
