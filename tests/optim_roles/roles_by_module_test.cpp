#include <torch/nn.h>

#include <map>
#include <set>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
namespace nn = torch::nn;

struct Zoo : nn::Module {
  Zoo() {
    register_module("embedding", nn::Embedding(5, 4));
    register_module("bag", nn::EmbeddingBag(5, 4));
    register_module("linear", nn::Linear(4, 6));
    register_module("layer_norm", nn::LayerNorm(nn::LayerNormOptions({4})));
    register_module("group_norm", nn::GroupNorm(2, 4));
    register_module("batch_norm1", nn::BatchNorm1d(4));
    register_module("batch_norm2", nn::BatchNorm2d(4));
    register_module("instance_norm", nn::InstanceNorm3d(nn::InstanceNorm3dOptions(4).affine(true)));
    register_module("conv", nn::Conv2d(4, 4, 3));
    register_module("conv_t", nn::ConvTranspose1d(4, 4, 3));
    register_module("bilinear", nn::Bilinear(4, 4, 4));
    register_module("prelu", nn::PReLU());
    register_module("attention", nn::MultiheadAttention(nn::MultiheadAttentionOptions(4, 2).add_bias_kv(true)));
    register_module("cross", nn::MultiheadAttention(nn::MultiheadAttentionOptions(4, 2).kdim(3).vdim(5)));
    register_module("lstm", nn::LSTM(nn::LSTMOptions(4, 6).bidirectional(true).proj_size(2)));
    register_module("gru", nn::GRUCell(4, 6));
    register_module("softmax", nn::AdaptiveLogSoftmaxWithLoss(nn::AdaptiveLogSoftmaxWithLossOptions(64, 20, {5, 10})));
    register_module("stack", nn::Sequential(nn::Linear(4, 4), nn::LayerNorm(nn::LayerNormOptions({4}))));
    own = register_parameter("own", torch::ones({4}));
    register_parameter("frozen", torch::ones({4}), /*requires_grad=*/false);
  }
  torch::Tensor own;
};

std::map<std::string, ParamRole> by_name(const ModuleRoles& roles) {
  std::map<std::string, ParamRole> out;
  for (const NamedParam& param : roles.params) out[param.name] = param.role;
  return out;
}

std::string error_of(const nn::Module& model, const ModuleRoleOptions& options) {
  try {
    roles_by_module(model, options);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("each type of torch's module library gives its parameters their kinds") {
  const Zoo zoo;
  const ModuleRoles roles = roles_by_module(zoo);
  const std::map<std::string, ParamKind> expected = {{"embedding.weight", ParamKind::embedding},
                                                     {"bag.weight", ParamKind::embedding},
                                                     {"linear.weight", ParamKind::matrix},
                                                     {"linear.bias", ParamKind::bias},
                                                     {"layer_norm.weight", ParamKind::scale},
                                                     {"layer_norm.bias", ParamKind::bias},
                                                     {"group_norm.weight", ParamKind::scale},
                                                     {"group_norm.bias", ParamKind::bias},
                                                     {"batch_norm1.weight", ParamKind::scale},
                                                     {"batch_norm1.bias", ParamKind::bias},
                                                     {"batch_norm2.weight", ParamKind::scale},
                                                     {"batch_norm2.bias", ParamKind::bias},
                                                     {"instance_norm.weight", ParamKind::scale},
                                                     {"instance_norm.bias", ParamKind::bias},
                                                     {"conv.bias", ParamKind::bias},
                                                     {"conv_t.bias", ParamKind::bias},
                                                     {"bilinear.bias", ParamKind::bias},
                                                     {"attention.in_proj_weight", ParamKind::matrix},
                                                     {"attention.in_proj_bias", ParamKind::bias},
                                                     {"attention.out_proj.weight", ParamKind::matrix},
                                                     {"attention.out_proj.bias", ParamKind::bias},
                                                     {"cross.q_proj_weight", ParamKind::matrix},
                                                     {"cross.k_proj_weight", ParamKind::matrix},
                                                     {"cross.v_proj_weight", ParamKind::matrix},
                                                     {"cross.in_proj_bias", ParamKind::bias},
                                                     {"cross.out_proj.weight", ParamKind::matrix},
                                                     {"cross.out_proj.bias", ParamKind::bias},
                                                     {"lstm.weight_ih_l0", ParamKind::matrix},
                                                     {"lstm.weight_hh_l0", ParamKind::matrix},
                                                     {"lstm.weight_hr_l0", ParamKind::matrix},
                                                     {"lstm.bias_ih_l0", ParamKind::bias},
                                                     {"lstm.bias_hh_l0", ParamKind::bias},
                                                     {"lstm.weight_ih_l0_reverse", ParamKind::matrix},
                                                     {"lstm.weight_hh_l0_reverse", ParamKind::matrix},
                                                     {"lstm.weight_hr_l0_reverse", ParamKind::matrix},
                                                     {"lstm.bias_ih_l0_reverse", ParamKind::bias},
                                                     {"lstm.bias_hh_l0_reverse", ParamKind::bias},
                                                     {"gru.weight_ih", ParamKind::matrix},
                                                     {"gru.weight_hh", ParamKind::matrix},
                                                     {"gru.bias_ih", ParamKind::bias},
                                                     {"gru.bias_hh", ParamKind::bias},
                                                     {"stack.0.weight", ParamKind::matrix},
                                                     {"stack.0.bias", ParamKind::bias},
                                                     {"stack.1.weight", ParamKind::scale},
                                                     {"stack.1.bias", ParamKind::bias}};
  std::map<std::string, ParamKind> got;
  for (const NamedParam& param : roles.params) {
    got[param.name] = param.role.kind;
    INFO(param.name);
    CHECK(param.role.site == param.name.substr(0, param.name.rfind('.')));
    CHECK(param.role.norm_class == (param.role.kind == ParamKind::scale ? NormClass::input : NormClass::none));
    CHECK(role_error(param.role).empty());
  }
  for (const auto& [name, kind] : expected) {
    INFO(name);
    REQUIRE(got.count(name) == 1);
    CHECK(to_string(got.at(name)) == to_string(kind));
  }
  CHECK(got.size() == expected.size());
}

TEST_CASE("stacked maps say how many they are") {
  const auto roles = by_name(roles_by_module(Zoo()));
  CHECK(roles.at("attention.in_proj_weight").row_blocks == 3);
  CHECK(roles.at("attention.out_proj.weight").row_blocks == 1);
  CHECK(roles.at("cross.q_proj_weight").row_blocks == 1);
  CHECK(roles.at("lstm.weight_ih_l0").row_blocks == 4);
  CHECK(roles.at("lstm.weight_hh_l0_reverse").row_blocks == 4);
  CHECK(roles.at("lstm.weight_hr_l0").row_blocks == 1);
  CHECK(roles.at("gru.weight_ih").row_blocks == 3);
  CHECK(roles.at("linear.weight").row_blocks == 1);
  CHECK(roles.at("attention.in_proj_weight").head_dim == 2);
  CHECK(roles.at("attention.out_proj.weight").head_dim == 0);
  CHECK(roles.at("cross.q_proj_weight").head_dim == 2);
  CHECK(roles.at("cross.v_proj_weight").head_dim == 0);
  CHECK(roles.at("linear.weight").head_dim == 0);
}

TEST_CASE("every parameter is classed or listed, once and in torch's order") {
  const Zoo zoo;
  const ModuleRoles roles = roles_by_module(zoo);
  const std::set<std::string> unclassed(roles.unclassed.begin(), roles.unclassed.end());
  std::vector<std::string> classed_names, expected_names, expected_unclassed;
  for (const NamedParam& param : roles.params) classed_names.push_back(param.name);
  for (const auto& item : zoo.named_parameters()) {
    if (item.key() == "frozen") continue;
    (unclassed.count(item.key()) ? expected_unclassed : expected_names).push_back(item.key());
    for (const NamedParam& param : roles.params)
      if (param.name == item.key()) CHECK(param.tensor.is_same(item.value()));
  }
  CHECK(classed_names == expected_names);
  CHECK(roles.unclassed == expected_unclassed);
  for (const char* name : {"own", "conv.weight", "conv_t.weight", "bilinear.weight", "prelu.weight", "attention.bias_k",
                           "attention.bias_v", "softmax.head.weight"})
    CHECK(unclassed.count(name) == 1);
}

TEST_CASE("overrides state what a type cannot know") {
  const Zoo zoo;
  ModuleRoleOptions options;
  options.norm_class = NormClass::output;
  options.overrides = {{"stack.1.weight", {ParamKind::scale, NormClass::input, "final"}},
                       {"stack.*.weight", {ParamKind::unembedding}},
                       {"own", {ParamKind::bias}},
                       {"softmax.*", {ParamKind::unembedding}}};
  const auto roles = by_name(roles_by_module(zoo, options));
  CHECK(roles.at("stack.1.weight") == ParamRole{ParamKind::scale, NormClass::input, "final"});
  CHECK(roles.at("stack.0.weight") == ParamRole{ParamKind::unembedding, NormClass::none, "stack.0"});
  CHECK(roles.at("own") == ParamRole{ParamKind::bias});
  CHECK(roles.at("softmax.tail.0.0.weight").kind == ParamKind::unembedding);
  CHECK(roles.at("layer_norm.weight") ==
        ParamRole{ParamKind::scale, NormClass::output, "layer_norm", -1, ScaleSide::after, ScalePart::value});
}

TEST_CASE("overrides that mean nothing are refused by name") {
  const Zoo zoo;
  CHECK(has(error_of(zoo, {NormClass::input, {{"heads.weight", {ParamKind::unembedding}}}}), "heads.weight"));
  CHECK(has(error_of(zoo, {NormClass::input, {{"linear.*", {}}, {"linear.bias", {ParamKind::bias}}}}), "linear.bias"));
  const std::string error = error_of(zoo, {NormClass::input, {{"linear.bias", {ParamKind::scale}}}});
  CHECK(has(error, "linear.bias"));
  CHECK(has(error, "norm_class"));
  CHECK(has(error_of(zoo, {NormClass::none, {}}), "norm_class: got none; allowed: input, output"));
}

TEST_CASE("torch's post-norm layers have output-class norms, whoever holds them") {
  struct Model : nn::Module {
    Model() {
      register_module("layer", nn::TransformerDecoderLayer(nn::TransformerDecoderLayerOptions(4, 2)));
      register_module("final", nn::LayerNorm(nn::LayerNormOptions({4})));
    }
  };
  const auto roles = by_name(roles_by_module(Model()));
  for (const char* name : {"layer.norm1.weight", "layer.norm2.weight", "layer.norm3.weight"})
    CHECK(roles.at(name).norm_class == NormClass::output);
  CHECK(roles.at("final.weight").norm_class == NormClass::input);
  CHECK(roles.at("layer.self_attn.in_proj_weight").kind == ParamKind::matrix);
}

TEST_CASE("a tied tensor appears once, as an embedding whichever module comes first") {
  struct SharedEmbedding : nn::EmbeddingImpl {
    explicit SharedEmbedding(const torch::Tensor& shared) : nn::EmbeddingImpl(shared.size(0), shared.size(1)) {
      weight = parameters_["weight"] = shared;
    }
  };
  struct Tied : nn::Module {
    explicit Tied(bool head_first) {
      nn::Linear head(nn::LinearOptions(4, 5).bias(false));
      const auto embed = std::make_shared<SharedEmbedding>(head->weight);
      if (head_first) register_module("head", head);
      register_module("embed", embed);
      if (!head_first) register_module("head", head);
    }
  };
  for (const bool head_first : {false, true}) {
    const Tied model(head_first);
    const ModuleRoles roles = roles_by_module(model);
    REQUIRE(roles.params.size() == 1);
    CHECK(roles.params[0].name == (head_first ? "head.weight" : "embed.weight"));
    CHECK(roles.params[0].role.kind == ParamKind::embedding);
    const ModuleRoles stated = roles_by_module(model, {NormClass::input, {{"head.weight", {ParamKind::unembedding}}}});
    REQUIRE(stated.params.size() == 1);
    CHECK(stated.params[0].role.kind == ParamKind::unembedding);
  }
}

TEST_CASE("the roles are ready for a policy") {
  nn::Sequential model(nn::Linear(4, 4), nn::LayerNorm(nn::LayerNormOptions({4})));
  const ModuleRoles roles = roles_by_module(*model);
  REQUIRE(roles.unclassed.empty());
  const auto optimizer = make_optimizer(roles.params, RolePolicy::from_json(R"({"lr": 0.5, "rules": [
      {"match": {"kind": ["matrix", "bias"]}, "method": "sgd"},
      {"match": {"kind": "scale"}, "method": "adamw"}]})"));
  const torch::Tensor before = model[0]->as<nn::Linear>()->weight.detach().clone();
  for (torch::Tensor& p : model->parameters()) p.mutable_grad() = torch::ones_like(p);
  optimizer->step();
  CHECK(torch::equal(model[0]->as<nn::Linear>()->weight, before - 0.5));
}
