#include <torch/types.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "models/decoder.hpp"
#include "models/options_json.hpp"
#include "models/toy/toy.hpp"
#include "models/toy/toy_options.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec::models;

namespace {

using scalevec::ConfigError;
using scalevec::models::DecoderOptions;
using scalevec::models::OutputScaleOptions;

template <class Read>
std::string message_of(const std::string& text, Read read) {
  const nlohmann::json parsed = scalevec::parse_json(text, "test");
  scalevec::JsonReader reader(parsed, "model");
  try {
    read(reader);
    reader.finish();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "accepted";
}

std::string decoder_message(const std::string& text) {
  return message_of(text, [](scalevec::JsonReader& r) { scalevec::models::read_decoder_options(r); });
}

std::string toy_message(const std::string& text, const char* type = "output_scale") {
  return message_of(text, [&](scalevec::JsonReader& r) { scalevec::models::read_toy_options(type, r); });
}

}  // namespace

TEST_CASE("decoder options are read from JSON and completed") {
  const DecoderOptions o = scalevec::models::decoder_options_from_json(
      R"({"vocab_size": 100, "width": 64, "layers": 3, "heads": 8, "kv_heads": 2, "head_dim": 16, "mlp_width": 96,
          "rope_theta": 5e5, "norm_eps": 1e-6, "tie_embeddings": false, "scale_vectors": false, "qk_norm": true,
          "qk_norm_scale": false, "init_std": 0.1, "init_depth_scaling": false})");
  CHECK(o.vocab_size == 100);
  CHECK(o.width == 64);
  CHECK(o.layers == 3);
  CHECK(o.heads == 8);
  CHECK(o.kv_heads == 2);
  CHECK(o.head_dim == 16);
  CHECK(o.mlp_width == 96);
  CHECK(o.rope_theta == 5e5);
  CHECK(o.norm_eps == 1e-6);
  CHECK(!o.tie_embeddings);
  CHECK(!o.scale_vectors);
  CHECK(o.qk_norm);
  CHECK(!o.qk_norm_scale);
  CHECK(o.init_std == 0.1);
  CHECK(!o.init_depth_scaling);

  const DecoderOptions d = scalevec::models::decoder_options_from_json(R"({"width": 96, "heads": 6})").resolved();
  CHECK(d.kv_heads == 6);
  CHECK(d.head_dim == 16);
  CHECK(d.mlp_width == 256);  // 8/3·96 itself
  CHECK(scalevec::models::decoder_options_from_json(R"({"width": 128})").resolved().mlp_width == 352);  // above 341.3
}

TEST_CASE("decoder options that mean nothing are refused in one line") {
  CHECK(decoder_message(R"({"heads": 3, "width": 64})") ==
        "model.heads: got 3; allowed: a divisor of width (64), or any number with head_dim given");
  CHECK(decoder_message(R"({"heads": 3, "width": 64, "head_dim": 8})") == "accepted");
  CHECK(decoder_message(R"({"heads": 6, "kv_heads": 4, "width": 96})") ==
        "model.kv_heads: got 4; allowed: a divisor of heads (6)");
  CHECK(decoder_message(R"({"head_dim": 7})") ==
        "model.head_dim: got 7; allowed: an even number, since RoPE rotates pairs");
  CHECK(decoder_message(R"({"heads": 4, "width": 20})") ==
        "model.head_dim: got 5; allowed: an even number, since RoPE rotates pairs (default: width/heads)");
  CHECK(decoder_message(R"({"qk_norm_scale": true})") ==
        "model.qk_norm_scale: got true; allowed: true only with qk_norm true");
  for (const std::string key : {"vocab_size", "width", "layers", "heads", "kv_heads", "head_dim", "mlp_width"}) {
    const std::string message = decoder_message("{\"" + key + "\": 0}");
    INFO(message);
    CHECK(message.rfind("model." + key + ": got 0; allowed: an integer, [1, ", 0) == 0);
  }
  CHECK(decoder_message(R"({"rope_theta": 0})") == "model.rope_theta: got 0; allowed: a number, more than 0");
  CHECK(decoder_message(R"({"norm_eps": -1})") == "model.norm_eps: got -1; allowed: a number, at least 0");
  CHECK(decoder_message(R"({"init_std": -0.5})") == "model.init_std: got -0.5; allowed: a number, at least 0");
  CHECK(decoder_message(R"({"width": "wide"})").rfind("model.width: got \"wide\"; allowed: an integer", 0) == 0);
  CHECK(decoder_message(R"({"tie_embeddings": 1})") == "model.tie_embeddings: got 1; allowed: true, false");
  const std::string unknown = decoder_message(R"({"widht": 64})");
  INFO(unknown);
  CHECK(unknown.find("model.widht") != std::string::npos);
  CHECK(unknown.find("width") != std::string::npos);
  CHECK_THROWS_AS(scalevec::models::decoder_options_from_json("{"), std::invalid_argument);
}

TEST_CASE("options set in code are checked by the constructors") {
  const auto error_of = [](auto change) {
    DecoderOptions o;
    change(o);
    CHECK_THROWS_AS(scalevec::models::Decoder(o, 0), std::invalid_argument);
    return o.error();
  };
  CHECK(DecoderOptions{}.error().empty());
  CHECK(error_of([](auto& o) { o.layers = 0; }) == "layers: got 0; allowed: an integer, [1, 10000]");
  CHECK(error_of([](auto& o) { o.kv_heads = -1; }) == "kv_heads: got -1; allowed: an integer, [1, 1073741824]");
  CHECK(error_of([](auto& o) { o.vocab_size = 0; }).rfind("vocab_size: got 0", 0) == 0);
  CHECK(error_of([](auto& o) { o.heads = 3; }).rfind("heads: got 3", 0) == 0);
  CHECK(error_of([](auto& o) { o.norm_eps = NAN; }) == "norm_eps: got nan; allowed: a number, at least 0");
  CHECK(error_of([](auto& o) { o.rope_theta = -2.5; }) == "rope_theta: got -2.5; allowed: a number, more than 0");
  CHECK(error_of([](auto& o) { o.init_std = INFINITY; }).rfind("init_std: got inf", 0) == 0);
  CHECK_THROWS_AS(scalevec::models::make_toy(OutputScaleOptions{.curvature = 0.0}, 0), std::invalid_argument);
}

TEST_CASE("toy options are read and refused likewise") {
  CHECK(toy_message(R"({"replicas": 10, "curvature": 0.5, "target": -1, "sigma": 0, "initial": 3})") == "accepted");
  CHECK(toy_message(R"({"replicas": 0})").rfind("model.replicas: got 0; allowed: an integer, [1, ", 0) == 0);
  CHECK(toy_message(R"({"curvature": 0})") == "model.curvature: got 0; allowed: a number, more than 0");
  CHECK(toy_message(R"({"sigma": -1})") == "model.sigma: got -1; allowed: a number, at least 0");
  CHECK(toy_message(R"({"target": "x"})") == "model.target: got \"x\"; allowed: a finite number");
  CHECK(toy_message(R"({"seed": 1})").rfind("model.seed: unknown key", 0) == 0);
  CHECK(toy_message(R"({"gamma": 1})").find("model.gamma") != std::string::npos);
  CHECK(toy_message(R"({"rows": 3, "scale": false, "init_std": 0})", "input_scale") == "accepted");
  CHECK(toy_message(R"({"scale": 1})", "input_scale") == "model.scale: got 1; allowed: true, false");
  CHECK(toy_message(R"({"curvatures": [1, 2, 3], "targets": [1, -1, 0], "own": true})", "branch_scales") == "accepted");
  CHECK(toy_message(R"({"curvatures": [1, 2, 3]})", "branch_scales") ==
        "model.targets: got 2 numbers; allowed: as many as curvatures, 3");
  CHECK(toy_message(R"({"curvatures": [1, -2]})", "branch_scales") ==
        "model.curvatures: got [1,-2]; allowed: a number, more than 0");
  CHECK(toy_message(R"({"curvatures": [], "targets": []})", "branch_scales") ==
        "model.curvatures: got []; allowed: at least one number");
  CHECK(toy_message(R"({"scales": "dp"})", "placement") ==
        "model.scales: got \"dp\"; allowed: none, input, both, both_normed");
  CHECK(toy_message(R"({"spread": 0.5})", "placement") == "model.spread: got 0.5; allowed: a number, at least 1");
  CHECK(toy_message(R"({"scales": "both_normed", "init_std": 0})", "placement") ==
        "model.init_std: got 0; allowed: more than 0 with scales both_normed, since a norm follows W");
  CHECK(toy_message(R"({"form": "unit"})", "magnitude_direction").rfind("model.form: got \"unit\"", 0) == 0);
  CHECK(toy_message(R"({"init_std": 0})", "scale_invariant") ==
        "model.init_std: got 0; allowed: a number, more than 0");
  CHECK(toy_message(R"({"modes": 2.5})", "spectrum").rfind("model.modes: got 2.5; allowed: an integer", 0) == 0);
  CHECK(toy_message(R"({"mode": 2})", "spectrum").rfind("model.mode: unknown key; did you mean \"modes\"?", 0) == 0);
}

TEST_CASE("every toy's options read back from their JSON, and are checked in code as in JSON") {
  CHECK(scalevec::models::toy_types().size() == 7);
  for (const std::string& type : scalevec::models::toy_types()) {
    INFO(type);
    const nlohmann::json written = scalevec::models::json_of(scalevec::models::toy_defaults(type));
    CHECK(written["type"] == type);
    scalevec::JsonReader reader(written, "model");
    reader.string("type");
    CHECK(scalevec::models::json_of(scalevec::models::read_toy_options(type, reader)) == written);
    reader.finish();
  }
  CHECK_THROWS_AS(scalevec::models::toy_defaults("decoder"), std::invalid_argument);
  CHECK(scalevec::models::toy_error(scalevec::models::InputScaleOptions{}).empty());
  CHECK(scalevec::models::toy_error(scalevec::models::InputScaleOptions{.rows = 0})
            .rfind("rows: got 0; allowed: an integer, [1, ", 0) == 0);
  CHECK(scalevec::models::toy_error(scalevec::models::SpectrumOptions{.a = NAN}) ==
        "a: got nan; allowed: a number, at least 0");
  CHECK(scalevec::models::toy_error(scalevec::models::PlacementOptions{.scales = "dp"}) ==
        "scales: got dp; allowed: none, input, both, both_normed");
}
