#include "scalevec/models/decoder_options.hpp"

#include <cmath>
#include <sstream>

#include "scalevec/models/options_json.hpp"

namespace scalevec {
namespace {

constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;

template <class T>
std::string bad(const char* field, T value, const std::string& allowed) {
  std::ostringstream out;
  out << std::boolalpha << field << ": got " << value << "; allowed: " << allowed;
  return out.str();
}

bool positive(double x) { return std::isfinite(x) && x > 0.0; }

}  // namespace

DecoderOptions DecoderOptions::resolved() const {
  DecoderOptions r = *this;
  if (r.kv_heads == 0) r.kv_heads = heads;
  if (r.head_dim == 0) r.head_dim = width / heads;
  if (r.mlp_width == 0) r.mlp_width = (8 * width + 95) / 96 * 32;
  return r;
}

std::string DecoderOptions::error() const {
  const std::string at_least_one = "an integer from 1 to 2^30";
  const auto size = [&](const char* field, std::int64_t value, std::int64_t least) {
    if (value >= least && value <= kMaxSize) return std::string();
    return bad(field, value, at_least_one + (least == 0 ? ", or 0 for the default" : ""));
  };
  for (const std::string& error :
       {size("vocab_size", vocab_size, 1), size("width", width, 1), size("layers", layers, 1), size("heads", heads, 1),
        size("kv_heads", kv_heads, 0), size("head_dim", head_dim, 0), size("mlp_width", mlp_width, 0)})
    if (!error.empty()) return error;
  if (!positive(rope_theta)) return bad("rope_theta", rope_theta, "more than 0");
  if (!std::isfinite(norm_eps) || norm_eps < 0.0) return bad("norm_eps", norm_eps, "at least 0");
  if (!std::isfinite(init_std) || init_std < 0.0) return bad("init_std", init_std, "at least 0");

  if (head_dim == 0 && width % heads != 0)
    return bad("heads", heads, "a divisor of width (" + std::to_string(width) + "), or any number with head_dim given");
  const DecoderOptions r = resolved();
  if (r.head_dim % 2 != 0)
    return bad("head_dim", r.head_dim,
               std::string("an even number, since RoPE rotates pairs") +
                   (head_dim == 0 ? " (default: width/heads)" : ""));
  if (heads % r.kv_heads != 0)
    return bad("kv_heads", kv_heads, "a divisor of heads (" + std::to_string(heads) + ")");
  return {};
}

DecoderOptions read_decoder_options(JsonReader& json) {
  const Range size = Range::between(1, static_cast<double>(kMaxSize));
  DecoderOptions o;
  o.vocab_size = json.integer("vocab_size", o.vocab_size, size);
  o.width = json.integer("width", o.width, size);
  o.layers = json.integer("layers", o.layers, size);
  o.heads = json.integer("heads", o.heads, size);
  o.kv_heads = json.integer("kv_heads", o.kv_heads, size);
  o.head_dim = json.integer("head_dim", o.head_dim, size);
  o.mlp_width = json.integer("mlp_width", o.mlp_width, size);
  o.rope_theta = json.number("rope_theta", o.rope_theta, Range::above(0));
  o.norm_eps = json.number("norm_eps", o.norm_eps, Range::at_least(0));
  o.tie_embeddings = json.boolean("tie_embeddings", o.tie_embeddings);
  o.scale_vectors = json.boolean("scale_vectors", o.scale_vectors);
  o.qk_norm = json.boolean("qk_norm", o.qk_norm);
  o.qk_norm_scale = json.boolean("qk_norm_scale", o.qk_norm_scale);
  if (json.has("qk_norm_scale") && o.qk_norm_scale && !o.qk_norm)
    json.fail("qk_norm_scale", "true only with qk_norm true");
  o.init_std = json.number("init_std", o.init_std, Range::at_least(0));
  o.init_depth_scaling = json.boolean("init_depth_scaling", o.init_depth_scaling);
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(json.path(error));
  return o;
}

DecoderOptions decoder_options_from_json(const std::string& text) {
  const nlohmann::json parsed = parse_json(text, "decoder options");
  JsonReader json(parsed, "");
  const DecoderOptions options = read_decoder_options(json);
  json.finish();
  return options;
}

std::string OutputScaleOptions::error() const {
  if (replicas < 1 || replicas > kMaxSize) return bad("replicas", replicas, "an integer from 1 to 2^30");
  if (!positive(curvature)) return bad("curvature", curvature, "more than 0");
  if (!std::isfinite(target)) return bad("target", target, "a finite number");
  if (!std::isfinite(sigma) || sigma < 0.0) return bad("sigma", sigma, "at least 0");
  if (!std::isfinite(initial)) return bad("initial", initial, "a finite number");
  return {};
}

OutputScaleOptions read_output_scale_options(JsonReader& json) {
  OutputScaleOptions o;
  o.replicas = json.integer("replicas", o.replicas, Range::between(1, static_cast<double>(kMaxSize)));
  o.curvature = json.number("curvature", o.curvature, Range::above(0));
  o.target = json.number("target", o.target);
  o.sigma = json.number("sigma", o.sigma, Range::at_least(0));
  o.initial = json.number("initial", o.initial);
  o.seed = static_cast<std::uint64_t>(
      json.integer("seed", static_cast<std::int64_t>(o.seed), Range::at_least(0)));
  return o;
}

}  // namespace scalevec
