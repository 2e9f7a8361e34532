#include "experiments/claims/levels.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/plot/picture.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/system/sha256.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

FigureEvidence draw(const std::string& id, const fs::path& dir) {
  FigureEvidence out;
  out.id = id;
  const fs::path record = dir / (id + ".json"), part = dir / (id + ".part.html");
  if (const auto kept = read_record(record); kept && fs::exists(part)) {
    out.caption = text_at(*kept, "caption");
    out.agreement = number_at(*kept, "agreement");
    out.required = number_at(*kept, "required");
    out.picture = part;
    return out;
  }
  const auto it = std::find_if(figures().begin(), figures().end(), [&](const Figure& f) { return f.id == id; });
  if (it == figures().end()) {
    out.problem = "not available: this program draws no figure " + id;
    return out;
  }
  try {
    const FigureResult result = it->run(FigureValues(it->params, FigureQuality::quick));
    out.caption = result.plot.caption;
    out.agreement = result.agreement;
    out.required = result.required;
    fs::create_directories(dir);
    write_file(part, picture(result.plot, file_links(write_plot(result.plot, dir), dir.filename().string())));
    out.picture = part;
    write_record(record,
                 json{{"caption", out.caption}, {"agreement", out.agreement}, {"required", out.required}}.dump(2));
  } catch (const std::exception& e) {
    out.problem = std::string("not available: ") + e.what();
  }
  return out;
}

std::vector<double> doubles(const json& values) {
  std::vector<double> out;
  for (const json& v : values)
    out.push_back(v.is_number() ? v.get<double>() : std::numeric_limits<double>::quiet_NaN());
  return out;
}

bool is_verdict(const std::string& word) {
  return word == "confirmed" || word == "contradicted" || word == "not confirmed";
}

}  // namespace

std::vector<FigureEvidence> figure_evidence(const std::vector<std::string>& ids, const fs::path& dir) {
  std::vector<FigureEvidence> out;
  for (const std::string& id : ids) out.push_back(draw(id, dir));
  return out;
}

ToyEvidence toy_evidence(const Claim& claim, ToyRunner run, const fs::path& dir) {
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
  ToyEvidence out;
  out.lrs = doubles(kept.at("lrs"));
  out.worse = doubles(kept.at("worse"));
  out.better = doubles(kept.at("better"));
  out.worse_lr = number_at(kept, "worse_lr");
  out.better_lr = number_at(kept, "better_lr");
  out.gains = doubles(kept.at("gains"));
  out.words = text_at(kept, "words");
  const Gain gain = student_gain(out.gains, "a replica diverged");
  out.judgement = judge(std::vector<Hypothesis>{{gain, toy.smallest_effect}})[0];
  out.mean = gain.estimate;
  return out;
}

bool Levels::disagree() const {
  std::string said;
  for (const std::string& word : {theory, toy, language}) {
    if (!is_verdict(word)) continue;
    if (!said.empty() && said != word) return true;
    said = word;
  }
  return false;
}

std::string Levels::headline() const {
  if (!disagree()) return language;
  std::string text = "levels disagree:";
  for (const auto& [level, word] :
       {std::pair{"theory", theory}, std::pair{"toy", toy}, std::pair{"language model", language}})
    if (is_verdict(word)) text += std::string(text.back() == ':' ? " " : ", ") + level + " " + word;
  return text;
}

}  // namespace scalevec::experiments
