#include "experiments/record/run_events.hpp"

namespace scalevec::experiments {

void RunEvents::training(std::int64_t step, const Training& t) {
  std::vector<Scalar> scalars{{"train/loss", t.loss},
                              {"train/lr", t.lr},
                              {"train/grad_norm", t.grad_norm},
                              {"train/clip_factor", t.clip_factor}};
  if (t.tokens_per_second > 0.0) scalars.push_back({"train/tokens_per_second", t.tokens_per_second});
  file_.append(step, scalars);
}

void RunEvents::validation(std::int64_t step, double loss) {
  const Scalar scalar{"val/loss", loss};
  file_.append(step, {&scalar, 1});
}

void RunEvents::traces(std::int64_t step, const std::vector<RunTraceRow>& params,
                       const std::vector<RunTraceRow>& groups) {
  std::vector<Scalar> scalars;
  for (const RunTraceRow& row : groups)
    for (const RunTraceField& field : run_trace_fields())
      scalars.push_back({std::string(field.name) + "/" + row.name, row.*field.member});
  std::vector<Distribution> gammas;
  for (const RunTraceRow& row : params)
    if (!row.gamma_quantiles.empty()) gammas.push_back({"gamma/" + row.name, row.gamma_quantiles, row.count});
  file_.append(step, scalars, gammas);
}

}  // namespace scalevec::experiments
