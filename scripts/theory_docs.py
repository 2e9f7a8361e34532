#!/usr/bin/env python3
"""Draws every figure of the theory at paper quality and writes docs/theory.md and docs/images/theory/ from them.

    scripts/theory_docs.py [--program build/cpu/bin/scalevec] [--jobs 2] [--quality paper] [--figures P3 P4 | --text]

With --figures only these are drawn, with --text none; the page keeps the others' sections and pictures.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Formula, condition under which it holds, header.
ENTRIES = {
    "T1": ("W diag(γ) x = (W diag(γ)) x", "any γ, 0 too; with tied embeddings the final norm only after untying", "models/fold.hpp"),
    "T2": ("dθ/dt = −(γ²I + wwᵀ) ∂L/∂θ; γ² − ‖w‖² conserved", "the flow conserves it; noise does not: isotropic noise drives SGD to ‖w‖²/γ² = c, noise of covariance Σ to tr Σ/(ŵᵀΣŵ)", "theory/flow.hpp"),
    "T3": ("dr/dt = √(k² + 4r²) h (R − r), solved in closed form", "a fixed direction, gradient flow", "theory/flow.hpp"),
    "T4": ("λ_w‖w‖² − ½cη = λ_γ γ‖w‖, ‖w‖² = w̄² + ½cησ/(hγ + σλ_w), w̄ = hR/(hγ + σλ_w)", "AdamW at constant lr, gradient noise well above the gradient (`adamw_input_scale_holds`)", "theory/input_scale_decay.hpp"),
    "T5": ("h(γ* − γ)/√(h²(γ* − γ)² + σ²) = λγ (AdamW)", "no later weight compensates the scale; small lr", "theory/output_scale_decay.hpp"),
    "T6": ("cond H^½(γ²I + wwᵀ)H^½ against cond h_c√(k² + 4R_c²)", "gradient descent, each at its best stable lr (`branch_race_holds`)", "theory/branches.hpp"),
    "T7": ("−dL/dt = Σ(u_iv_jg_ij)² + Σ_i(Σ_jW_ijv_jg_ij)² + Σ_j(Σ_iu_iW_ijg_ij)²", "where u = 1, at equal (W, v) (`both_sides_faster_holds`); not along trajectories", "theory/placement.hpp"),
    "T8": ("√((s² + 1)/(s² + 1/d))", "Adam; the same signal s on every coordinate, gradients of the coordinates independent (`or_adam_amplification_holds`)", "theory/magnitude_direction.hpp"),
    "T9": ("‖w‖² = ηd/(2λ) · f, cos∠ = (1 + β₁ − ηλ)/(1 + β₁ − β₁ηλ) (AdamW); angle ≈ √(2ηλ(1 − β₁)/(1 + β₁))", "ηλ < 1, gradients independent from step to step, 1/(1 − β₂) ≪ 1/(2ηλ) (`adamw_rotation_holds`)", "theory/scale_invariance.hpp"),
    "T10": ("L = (2t)^−p/(2a) [γ(p, 2t) − γ(p, 2tN^−a)]; gain C t^(−2b/a)", "1 ≪ t^(1/a) ≪ N; the gain for R₀ ≤ 1 and 2R₀t^(−b/a) ≪ 1 (`plain_spectrum_holds`, `scale_gain_holds`)", "theory/spectra.hpp"),
    "T11": ("‖w‖² ← (1 − x)²‖w‖² − 2(1 − x)η E w·u + η²E‖u‖²; in short d‖w‖²/dt = −2x‖w‖² + η²U", "gradients orthogonal to w and independent from step to step, ‖w‖ steady over Adam's 1/(1 − β₂) steps (`moving_rotation_holds`)", "theory/moving_rotation.hpp"),
    "T12": ("the same with Muon's updates; beside AdamW's γ d ln q/dn = [n_w/R + 2Kx_γ − q(Kn_γ/R + 2x_w)]/(K + q), q = ‖w‖/γ, K = η_Wa/(τη_γ)", "gradient noise well above the gradient, n large (`normalised_ratio_holds`)", "theory/scale_ratio.hpp"),
    "T13": ("SGD: d ln ρ/dn = 2(A − Bρ)/(1 + ρ), ρ = ‖w‖²/γ², A = cη²σ² + 2ηλ_γ + g, B = η²σ² + 2ηλ_w + g; AdamW, Lion: d ln q/dn = (A − Bq)/(1 + q), q = ‖w‖/γ, A = η²n_w/R + 2ηλ_γ, B = η²n_γ/R + 2ηλ_w", "the loss holds γ‖w‖ = R, whose noise is small beside it (`sgd_ratio_holds`, `normalised_ratio_holds`)", "theory/scale_ratio.hpp"),
    "T14": ("lr < 2(1 + β)/(h(γ² + ‖w‖²)); Adam: lr < 2(1 + β₁)/(1 − β₁) · σ/(h(γ + ‖w‖))", "isotropic curvature next to the minimum (`pair_edge_holds`); Adam: second moments that noise sets and holds (`adam_edge_holds`)", "theory/stability.hpp"),
    "T15": ("rate ln((R − r(0))/(R − r(t)))/(ht), between |k| and √(k² + 4R²)", "gradient flow along a fixed direction; equal to a fixed per-channel rate to first order in r/k (`fixed_channel_rate_holds`)", "theory/channel_rate.hpp"),
    "P1": ("edge of stability of γw at its minimum: lr·h = 2/√(1 + 4R²); Adam: speed-up (1 + √(1 + 4R))/2 (derived)", "one mode, k held at 1; Adam while sign descent is slower than its memory", "theory/flow.hpp"),
    "P2": ("γ²(∞) > 1 exactly where R > ‖w(0)‖ (derived)", "gradient flow, γ(0) = 1", "theory/input_scale_decay.hpp"),
    "P3": ("½h(R − γw̄)² + ¼ησ[cγ²/(γ + σλ_w/h) + ‖w‖²/(‖w‖ + σλ_γ/h)] and h(γ² + ‖w‖²), with and without λ_γ (derived)", "AdamW at constant lr, gradient noise well above the gradient; none known under a cosine", "theory/input_scale_decay.hpp"),
    "P4": ("cond H^½(γ²I + wwᵀ)H^½ = cond h_c√(1 + 4R_c²) (derived)", "gradient descent, each at its best stable lr, runs long enough that their end decides", "theory/branches.hpp"),
    "P5": ("both sides win beyond one spread of the rows' sizes (fitted)", "this toy under Adam with a cosine; no boundary is derived", "theory/simulate/scaled_map.hpp"),
    "P6": ("h_mag/h_dir = β*/√d (derived); Adam: s² = 1 − 2/d (fitted)", "gradient descent near the minimum; Adam: this toy, d ≥ 16", "theory/magnitude_direction.hpp"),
    "P7": ("ληT below one horizon where every scale is decayed (fitted)", "this toy under AdamW with a cosine, noise below the signal; no boundary is derived", "theory/simulate/scaled_map.hpp"),
    "P8": ("share of the steps whose rotation by T11 is off √(2ηλ(1 − β₁)/(1 + β₁)) (derived)", "AdamW, gradient noise alone", "theory/moving_rotation.hpp"),
    "P9": ("cosine c: + e(1 − c²)/√(σ² + 1/d) − ½e²dc per step, e = η/‖w‖ by T11 (derived)", "AdamW on weights before a norm, noise above the signal per coordinate", "theory/moving_rotation.hpp"),
    "M1": ("½n²V(√π/4)(τσ/a)^1.5 √(lr/steps), a = (8/3π)/√n, for κ lr T ≫ 1; at any horizon its integral", "noise above the signal, n large, exact polar factor (`muon_linear_schedule_holds`); within a factor of 2", "theory/muon.hpp"),
    "M2": ("‖W‖² = ηn²V/(2λ), angle √(2ηλρ/(nV))", "ηλ small against 1 − μ, n large (`muon_rotation_holds`)", "theory/muon.hpp"),
}

INTRO = """# The theory as figures

Run this at the root of the repository:

```
scripts/bootstrap.sh && scripts/build.sh cpu scalevec
export PATH=$PWD/build/cpu/bin:$PATH
scalevec theory --list                                # every figure and its parameters
scalevec theory T4 --out figures --set decay_w=1      # the low-signal formula outside its domain
scalevec theory --all --out figures --jobs 2          # --quality paper: most of this page's pictures
```

A scale vector γ and the column w that reads it act together as θ = γw. Each figure compares a closed form (line) with a
simulation by the library's own update rules, an integration or a LibTorch run (dots). `--set` changes a parameter, so
that a reader can see where prediction and simulation part. `--all` also writes `figures/index.html`, a page of all
figures.

T1 to T15 are results, P1 to P9 phase diagrams, M1 and M2 Muon; `--list` says what each draws. A figure's line says its
agreement, which is a deviation (0 is perfect), and what is required, the largest that is allowed; the caption says of what. It ends
in `ok` or `out`; with any `out` the exit status is 1, and the files (FIGURE.csv, .gp, .svg, .png, .caption.txt) are written all the
same. Over a run (`--run`), where theory and run part is the result, and the status is 0.

The formulas are functions of `scalevec::theory`, which needs no LibTorch (`examples/theory_app`). This page and its pictures are written
by `scripts/theory_docs.py`.

A run is held against them too. Its traces have `predicted_rotation` and `predicted_norm`, T11's and T12's from the run's own schedule,
decay and initial norms; `scalevec report runs/small` draws these, T13's ratio, T2's imbalance, T5's output-norm scales and, where
`runs/small/probe.json` is (`scalevec probe runs/small/config.json --out runs/small/probe.json`), T14's limit over what the run did, and says from which step on and by how much they part.
`scalevec theory T11 --run runs/small --out figures` draws one of them. `scalevec plan CONFIG` says beforehand how long 1/(2ηλ) is against
the run, how far matrices will turn per step, and which decay cannot act.

The toys train as language models do, with every optimizer and the same traces ([configuration.md](configuration.md) has their keys):

```
scalevec plan experiments/configs/toy_t7.json --set model.scales=both_normed
scalevec train experiments/configs/toy_muon.json --out runs/muon
```

What simulation corrected, or did not find:

- T4: at a learning rate that is not small, AdamW's noise adds ½cη to the balance of an input-norm scale, which the ratio ‖w‖/γ =
  λ_γ/λ_w leaves out, and the balance is one of the total ‖w‖², whose fluctuation can be most of it: with the mean length alone γ² is up to
  2.1 times off. The figure's line has both; the ratio is its limit for small lr.
- T13: gradient noise does not drive AdamW to the least trace, ‖w‖² = cγ², as it does SGD, but to ‖w‖ = cγ, some R/η² steps away.
  Lion's ratio ends above c (22 for c = 16, β₁ = β₂ = .9): a sign is one for γ and for the row along the target, and one sign of a long
  product sees it only where its argument is near 0, so that 9.4 of the 13.3 of its noise's long run bring the ratio down.
- T14: Adam whose second moment lives does not reach the edge that its noise alone would set: the error's own swing enters √v̂, and along
  one coordinate what is left of the edge is the root x < 1 of x√(1 + x(1 + β₁)/((1 − β₁)(1 − x))) = lr/edge (`adam_live_share`). At
  β₁ = .9 and a tenth of the edge v̂ is already 2.3 times the noise's. The figure's limit is that of v̂ held.
- T4: what a cosine leaves at λ_w = .1 (c = 16, η = 2e-3) depends on its length: .0022 without decay on γ after 20,000 steps and .0014 after
  40,000, .0030 and .0024 with decay to 1. Decay to 0 ends at .0054, at a third of the curvature: flatter, at more than twice the loss.
- T6: where the residuals of branches cancel, a shared scale is slower than own ones by at most √2 at equal θ, whatever their number C, not
  by up to √C. Under Adam, each at its best learning rate, the two nearly tie in every distribution of branches tried: no gain of HG.
- T7: under noisy Adam scales on both sides of a map end 6 to 20 % lower than on one on row-scaled and rank-one targets, less than
  expected, and tie on targets without structure (`tests/theory/simulated_values_test.cpp`).
- T8, P6: OR's advantage where the loss is flat along the magnitude ends at h_mag/h_dir = β*/√d (1/8 to 1/5 at d = 64 for β* from 1 to 1.5) near the minimum
  only: while γ points away from its target by an angle φ, the magnitude feels the other directions' curvature too, d·h_dir·sin²φ.

A formula is called derived where it follows from the model, and fitted where it was read off the simulation; where none is known the figure
says so.

| figure | draws |
|---|---|
"""


def capitalised(caption):
    """With a capital first, unless it is a Greek letter, which would be another symbol."""
    return caption[0].upper() + caption[1:] if caption[0].isascii() else caption


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/cpu/bin/scalevec"))
    parser.add_argument("--jobs", default="2")
    parser.add_argument("--quality", default="paper", choices=["quick", "paper"])
    parser.add_argument("--figures", nargs="+", default=[], choices=list(ENTRIES), metavar="FIGURE")
    parser.add_argument("--text", action="store_true")
    args = parser.parse_args()
    images = ROOT / "docs/images/theory"
    page = ROOT / "docs/theory.md"
    sections = {}
    if args.figures or args.text:
        sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page.read_text(), re.M | re.S))
    if not args.text and not draw(args, images, sections):
        return 1
    # An unindented line of --list is a figure's name and what it draws.
    listed = subprocess.run([args.program, "theory", "--list"], capture_output=True, text=True, check=True).stdout
    draws = dict(line.split("  ", 1) for line in listed.splitlines() if line and not line.startswith(" "))
    text = INTRO + "".join(f"| [{name}](#{name.lower()}) | {draws[name].strip()} |\n" for name in ENTRIES if name in sections)
    text += "".join(f"\n## {name}\n{sections[name].rstrip()}\n" for name in ENTRIES if name in sections)
    page.write_text(text)
    size = sum(f.stat().st_size for f in images.glob("*.png"))
    print(f"wrote docs/theory.md; {size / 2**20:.1f} MiB of pictures")
    return 0


def draw(args, images, sections):
    """Draws figures into `images` and writes their sections; False if one is out."""
    if not shutil.which("pngquant"):
        sys.exit("theory_docs.py: needs pngquant (apt-get install pngquant), which makes the pictures small enough to commit")
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary)
        command = [args.program, "theory", *(args.figures or ["--all"]), "--out", str(out), "--jobs", args.jobs, "--quality", args.quality]
        done = subprocess.run(command, capture_output=True, text=True)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            return False
        images.mkdir(parents=True, exist_ok=True)
        for line in done.stdout.splitlines():
            name, agreement = line.split(": ", 1)
            if name == "page":
                continue
            formula, condition, header = ENTRIES[name]
            subprocess.run(["pngquant", "--quality", "80-98", "--speed", "1", "--force", "--output", str(images / f"{name}.png"),
                            str(out / f"{name}.png")], check=True)
            caption = (out / f"{name}.caption.txt").read_text().strip().split(": ", 1)[1]
            sections[name] = (f"\n`{formula}`\n\nHolds for: {condition}. Code: `{header}`. {args.quality.capitalize()} quality: {agreement}.\n"
                              f"\n![{name}](images/theory/{name}.png)\n\n{capitalised(caption)}\n\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
