#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "models/decoder.hpp"
#include "models/decoder_sites.hpp"
#include "models/fold.hpp"
#include "models/initial_value.hpp"
#include "models/options_json.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
using namespace scalevec::models;

// Draws from the whole space of designs; what a draw is, std::mt19937's standard fixes, so the cases are the same
// everywhere.
class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  std::size_t below(std::size_t n) { return random_() % n; }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[below(values.size())];
  }

 private:
  std::mt19937 random_;
};

GammaOptions random_gamma(Draw& draw) {
  GammaOptions g;
  g.present = !draw.one_in(5);
  g.form = static_cast<ScaleForm>(draw.below(6));
  g.initial = draw.one_of<double>({1.0, 0.7, 1.6});
  return g;
}

ScalePlacement random_placement(Draw& draw) { return static_cast<ScalePlacement>(draw.below(4)); }

DecoderOptions random_options(std::uint32_t seed) {
  Draw draw(seed);
  DecoderOptions o;
  o.vocab_size = 7;
  o.width = 8;
  o.layers = 2;
  o.heads = 2;
  o.kv_heads = draw.one_of<std::int64_t>({1, 2});
  o.mlp_width = 6;
  o.rope_theta = 50.0;
  o.norm_eps = 1e-3;
  o.tie_embeddings = draw.one_in(2);
  o.scale_vectors = !draw.one_in(10);
  o.qk_norm = draw.one_in(3);
  o.qk_norm_scale = !o.qk_norm || !draw.one_in(4);
  if (o.qk_norm && draw.one_in(2)) o.qk_norm_width = QkNormWidth::full;
  o.norm = draw.one_in(4) ? NormKind::layer : NormKind::rms;
  o.norm_placement = draw.one_in(2) ? NormPlacement::pre : static_cast<NormPlacement>(draw.below(5));
  o.final_norm = !draw.one_in(6);
  o.activation = static_cast<Activation>(draw.below(3));
  o.qkv_bias = draw.one_in(4);
  o.o_bias = draw.one_in(4);
  o.residual_depth_scaling = draw.one_in(4);
  if (draw.one_in(4)) o.windows = {2, 0};
  if (draw.one_in(3)) {
    o.moe.experts = 3;
    o.moe.shared_width = draw.one_in(2) ? 4 : 0;
    o.moe.normalise_top_k = draw.one_in(2);
  }
  ScaleOptions& s = o.scales;
  for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) *g = random_gamma(draw);
  s.branch_attn = draw.one_in(2);
  s.branch_ffn = draw.one_in(2);
  if (o.moe.experts > 0 && s.branch_ffn && draw.one_in(2)) s.experts = ExpertScales::each;
  s.placement = random_placement(draw);
  s.allow_inert = !draw.one_in(5);
  if (s.placement != ScalePlacement::input && draw.one_in(2))
    for (const std::string& map : map_sites())
      if (draw.one_in(2)) s.maps.push_back(map);
  if (draw.one_in(2)) s.placements[draw.one_of(map_sites())] = random_placement(draw);
  for (int i = 0; i < 3; ++i)
    if (draw.one_in(2)) s.at[draw.one_of(scale_sites())] = random_gamma(draw);
  if (draw.one_in(3)) {
    s.multipliers = {draw.one_in(2), draw.one_in(2), draw.one_in(2), {}};
    if (s.multipliers.any() && draw.one_in(2)) s.multipliers.maps = {draw.one_of(map_sites())};
  }
  return o;
}

// The designs among `count` draws that mean something.
std::vector<DecoderOptions> random_designs(std::uint32_t count) {
  std::vector<DecoderOptions> designs;
  for (std::uint32_t seed = 0; seed < count; ++seed)
    if (DecoderOptions o = random_options(seed); o.error().empty()) designs.push_back(o);
  return designs;
}

void shake(Decoder& model) {
  model.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (auto& p : model.named_parameters())
    p.value().add_(normal_values(p.value().sizes(), 0.4, 2, p.key(), torch::kFloat64));
}

torch::Tensor some_tokens() { return torch::tensor({{0, 3, 6, 2, 2}, {4, 1, 0, 6, 3}}, torch::kInt64); }

constexpr std::uint32_t kDraws = 1500;

}  // namespace

TEST_CASE("random designs: naive and folded execution and the folded model are one function") {
  const auto designs = random_designs(kDraws);
  REQUIRE(designs.size() > 150);
  const torch::Tensor tokens = some_tokens();
  std::set<std::string> folded_scales;
  for (DecoderOptions o : designs) {
    INFO(json_of(o).dump());
    o.execution = Execution::naive;
    Decoder naive(o, 1);
    o.execution = Execution::folded;
    Decoder folded(o, 1);
    shake(naive);
    shake(folded);
    const torch::Tensor a = naive.loss(tokens, 0), b = folded.loss(tokens, 0);
    CHECK(std::abs((a - b).item<double>()) <= 1e-12);
    a.backward();
    b.backward();
    const auto ours = naive.named_parameters(), theirs = folded.named_parameters();
    double largest = 0.0, worst = 0.0;
    for (const auto& p : ours) {
      largest = std::max(largest, p.value().grad().abs().max().item<double>());
      worst = std::max(worst, (p.value().grad() - theirs[p.key()].grad()).abs().max().item<double>());
    }
    CHECK(worst <= 1e-12 * largest);

    const torch::NoGradGuard no_grad;
    const torch::Tensor before = naive.forward(tokens);
    const FoldResult result = fold(naive, /*untie=*/o.o_bias);
    CHECK((result.model->forward(tokens) - before).abs().max().item<double>() <=
          1e-12 * before.abs().max().item<double>());
    CHECK(result.folded.size() + result.kept.size() == naive.scale_links().size());
    for (const std::string& name : result.folded) folded_scales.insert(describe(naive.role(name)));
  }
  CHECK(folded_scales.size() > 20);  // the draws reach most kinds of scale
}

TEST_CASE("random designs: roles are complete and unique, matrices the same, and JSON holds everything") {
  std::map<std::string, torch::Tensor> matrices;
  for (const DecoderOptions& o : random_designs(kDraws)) {
    INFO(json_of(o).dump());
    CHECK(decoder_options_from_json(json_of(o).dump()) == o);
    const DecoderOptions r = o.resolved();
    CHECK(r.resolved() == r);
    CHECK(r.error().empty());
    CHECK(decoder_options_from_json(json_of(r).dump()) == r);

    const Decoder model(o, 3);
    std::set<std::string> roles;
    for (const auto& p : model.named_parameters()) {
      const ParamRole& role = model.role(p.key());
      CHECK(role_error(role).empty());
      INFO(p.key() << ": " << describe(role));
      CHECK(roles.insert(describe(role)).second);
      if (role.kind == ParamKind::scale || role.kind == ParamKind::bias) continue;
      const std::string key = p.key() + " " + c10::str(p.value().sizes());
      if (const auto [known, is_new] = matrices.emplace(key, p.value()); !is_new) CHECK(known->second.equal(p.value()));
    }
    for (const ScaleLink& link : model.scale_links())
      CHECK(model.role(link.scale).norm_class == (link.folds() ? NormClass::input : NormClass::output));
  }
}

TEST_CASE("random designs that mean nothing are refused with one line") {
  int refused = 0;
  for (std::uint32_t seed = 0; seed < kDraws; ++seed) {
    const DecoderOptions o = random_options(seed);
    const std::string error = o.error();
    if (error.empty()) continue;
    ++refused;
    INFO(error);
    CHECK(error.find("; allowed: ") != std::string::npos);
    CHECK(error.find('\n') == std::string::npos);
    CHECK_THROWS_AS(Decoder(o, 1), std::invalid_argument);
  }
  CHECK(refused > 150);
}

TEST_CASE("a single map or scale has a placement, a form and an initial value of its own") {
  const DecoderOptions o = decoder_options_from_json(R"({"vocab_size": 7, "width": 8, "layers": 1, "heads": 2, "scales":
    {"preset": "unified", "placements": {"attn.v": "both", "ffn.down": "both_normed", "ffn.up": "input"},
     "at": {"attn.q": {"form": "plain", "initial": 0.5}, "attn.k": {"present": false}, "ffn.gate.out": {"form": "er"}}}})");
  const Decoder model(o, 1);
  const auto p = model.named_parameters();
  CHECK(p["layers.0.attn_norm.q.gamma"].eq(0.5).all().item<bool>());
  CHECK(p["layers.0.attn_norm.v.alpha"].eq(1.0).all().item<bool>());
  CHECK(!p.contains("layers.0.attn_norm.k.alpha"));
  CHECK(!p.contains("layers.0.attn_norm.k.gamma"));
  CHECK(p.contains("layers.0.ffn.gate.out.log_beta"));
  CHECK(p.contains("layers.0.ffn.down.out.beta"));
  CHECK(!p.contains("layers.0.ffn.up.out.beta"));
  // Without a norm between, V's γ_a multiplies V's own rows.
  for (const ScaleLink& link : model.scale_links())
    if (link.scale == "layers.0.attn.v.out.alpha")
      CHECK(link.rows == std::vector<std::string>{"layers.0.attn.v.weight"});
  // Only the magnitudes that a norm still follows are inert: of q, whose form has none, k, which has no γ, and v and
  // up, behind which there is no norm now, none is.
  CHECK(o.warnings() == std::vector<std::string>{"the magnitude of γ_b of ffn.gate is inert: a norm follows ffn.gate"});
}

TEST_CASE("an option of a single map that means nothing is refused with the reason") {
  const auto refusal = [](const std::string& scales, const std::string& more = "") -> std::string {
    try {
      decoder_options_from_json(R"({"scales": )" + scales + more + "}");
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "accepted";
  };
  const std::vector<std::vector<std::string>> cases = {
      {R"({"at": {"attn.q": {}}})", "", "only under branches: attn; one γ_b is shared by attn.q, attn.k, attn.v here"},
      {R"({"preset": "hg", "at": {"ffn": {}}})", "", "ffn.gate, ffn.up, which have a γ_b each under branches: ffn"},
      {R"({"at": {"attn.v.out": {}}})", "", "only behind a map that placement, maps or placements give a γ_a"},
      {R"({"at": {"attn.q_norm": {}}})", "", "only with qk_norm"},
      {R"({"at": {"ffn_post": {}}})", "", "only with a norm behind the sublayers"},
      {R"({"preset": "hg", "at": {"ffn.router": {}}})", "", "only in a mixture of experts"},
      {R"({"at": {"attn": {"initial": -1, "form": "exp"}}})", "",
       "scales.at.attn.initial: got -1; allowed: more than 0"},
      {R"({"at": {"atn": {}}})", "", "scales.at.atn"},
      {R"({"at": {"attn": {"from": "or"}}})", "", "scales.at.attn.from"},
      {R"({"placements": {"attn.q": "output"}})", "", "a norm before the map and one after it do the same"},
      {R"({"placements": {"attn.q": "both_normed"}})", R"(, "qk_norm": true)", "under QK-norm"},
      {R"({"placements": {"attn.q": "both"}})", R"(, "norm_placement": "post")", "it has no γ_b there"},
      {R"({"placements": {"attn.x": "both"}})", "", "scales.placements.attn.x"},
      {R"({"preset": "hg", "placements": {"attn.q": "both_normed"}, "at": {"attn.q": {"form": "or"}}})", "",
       "is inert"},
  };
  for (const auto& c : cases) {
    const std::string got = refusal(c[0], c[1]);
    INFO(c[0] << c[1] << ": " << got);
    CHECK(got.find(c[2]) != std::string::npos);
    CHECK(got.find('\n') == std::string::npos);
  }
}
