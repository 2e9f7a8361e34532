#include "experiments/claims/levels.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/claims/evidence.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/sha256.hpp"
#include "experiments/system/text.hpp"
#include "optim/config/checksum.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json figure(const std::string& id, const fs::path& dir) {
  json out{{"id", id}, {"agreement", 0.0}, {"required", 0.0}, {"problem", ""}};
  const fs::path record = dir / (id + ".json"), part = dir / (id + ".part.html");
  json kept = read_record(record).value_or(json());
  try {
    // Drawn again if the record is of another figure, of an older version, or of another picture than the one there.
    if (text_at(kept, "figure") != id || !fs::exists(part) || text_at(kept, "part") != checksum(read_whole(part))) {
      const auto it = std::find_if(figures().begin(), figures().end(), [&](const Figure& f) { return f.id == id; });
      if (it == figures().end()) throw std::runtime_error("this program draws no figure " + id);
      FigureResult result = it->run(FigureValues(it->params, FigureQuality::quick));
      result.plot.name = id;
      const std::string picture = drawn(result.plot, dir);
      write_file(part, picture);
      kept = {{"figure", id},
              {"part", checksum(picture)},
              {"caption", result.plot.caption},
              {"agreement", result.agreement},
              {"required", result.required}};
      write_record(record, kept.dump(2));
    }
    for (const char* key : {"agreement", "required"}) out[key] = finite_or_null(number_at(kept, key));
  } catch (const std::exception& e) {
    out["problem"] = std::string("not available: ") + e.what();
  }
  return out;
}

json toy_result(const Claim& claim, ToyRunner run, const fs::path& dir) {
  const ToyClaim& toy = *claim.toy;
  const std::string hash = sha256(toy.problem.dump() + toy.worse.dump() + toy.better.dump());
  const fs::path record = dir / (claim.id + ".json");
  json kept = read_record(record).value_or(json::object());
  if (text_at(kept, "hash") != hash) {
    kept = run(toy);
    kept["hash"] = hash;
    fs::create_directories(dir);
    write_record(record, kept.dump(2));
  }
  const std::vector<double> gains = numbers_at(kept, "gains");
  const Gain gain = student_gain(gains, "a replica diverged");
  return {{"words", text_at(kept, "words")},
          {"lrs", numbers_at(kept, "lrs")},
          {"worse", losses_json(numbers_at(kept, "worse"))},
          {"better", losses_json(numbers_at(kept, "better"))},
          {"worse_lr", number_at(kept, "worse_lr")},
          {"better_lr", number_at(kept, "better_lr")},
          {"gain", finite_or_null(gain.estimate)},
          {"pairs", gains.size()},
          {"smallest_effect", toy.smallest_effect},
          {"judgement", judgement_json(judge(gain, toy.smallest_effect))}};
}

}  // namespace

bool agrees(const json& figure) {
  return text_at(figure, "problem").empty() && number_at(figure, "agreement") <= number_at(figure, "required");
}

void add_levels(json& result, const Claim& claim, ToyRunner run, const fs::path& dir) {
  std::string theory = claim.theory_reading;
  result["figures"] = json::array();
  for (const std::string& id : claim.figures) {
    result["figures"].push_back(figure(id, dir / "theory"));
    const json& drawn = result["figures"].back();
    if (text_at(drawn, "problem").empty() && !agrees(drawn)) theory = "not available";
  }
  result["toy"] = claim.toy ? toy_result(claim, run, dir / "toy") : json();
  const std::string language = text_at(result, "verdict"),
                    toy = claim.toy ? text_at(result["toy"]["judgement"], "verdict") : "none";
  result["levels"] = {{"theory", theory}, {"toy", toy}, {"language_model", language}};
  std::vector<std::string> verdicts, words;
  for (const auto& [level, word] :
       {std::pair{"theory", theory}, std::pair{"toy", toy}, std::pair{"language model", language}})
    if (word == to_string(Verdict::confirmed) || word == to_string(Verdict::contradicted) ||
        word == to_string(Verdict::not_confirmed)) {
      verdicts.push_back(word);
      words.push_back(level + (" " + word));
    }
  const bool disagree = std::any_of(verdicts.begin(), verdicts.end(), [&](auto& v) { return v != verdicts.front(); });
  if (disagree) result["headline"] = "levels disagree: " + joined(words);
}

}  // namespace scalevec::experiments
