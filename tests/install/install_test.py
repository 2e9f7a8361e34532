"""Installs a build into an empty prefix, checks what lies there, and builds and runs the examples against it alone.

    python3 install_test.py --source DIR --build DIR --cmake PROGRAM --generator NAME --compiler PROGRAM
                            [--flags FLAGS] [--libtorch DIR] [--client]

Without --libtorch the build has core and theory only. --client instead builds and runs a program that takes the
optimizers by add_subdirectory, on a machine without Boost and Eigen.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
UMBRELLA = {"optim/core": "core.hpp", "optim/testing": "testing.hpp", "optim": "optim.hpp", "models": "models.hpp", "theory": "theory.hpp"}
TORCH_FOLDERS = ("optim", "optim/testing", "models")

parser = argparse.ArgumentParser()
for option in ("--source", "--build", "--cmake", "--generator", "--compiler"):
    parser.add_argument(option, required=True)
parser.add_argument("--flags", default="")
parser.add_argument("--libtorch")
parser.add_argument("--client", action="store_true")
args = parser.parse_args()

environment = {key: value for key, value in os.environ.items() if key not in ("CMAKE_PREFIX_PATH", "Torch_DIR")}


def run(*command, fails=False):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=environment)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(map(str, command))}\nexited with {done.returncode}:\n{done.stdout}")
    return done.stdout


def configure(source, build, *options, fails=False):
    return run(args.cmake, "-S", source, "-B", build, "-G", args.generator, f"-DCMAKE_CXX_COMPILER={args.compiler}",
               f"-DCMAKE_CXX_FLAGS={args.flags}", "-DCMAKE_BUILD_TYPE=Release", *options, fails=fails)


def check(holds, message):
    if not holds:
        raise SystemExit(message)


def check_headers(root):
    """Installed headers include only each other, the standard library and, in optim and models, LibTorch; each one is
    reached from its folder's umbrella."""
    headers = {path.relative_to(root.parent).as_posix(): path.read_text(encoding="utf-8") for path in root.rglob("*.hpp")}
    includes = {name: INCLUDE.findall(text) for name, text in headers.items()}
    for name, found in includes.items():
        folder = next((f for f in UMBRELLA if name.startswith(f"scalevec/{f}/") or name == f"scalevec/{UMBRELLA[f]}"))
        for mark, header in found:
            if header.startswith("scalevec/"):
                check(header in headers, f"{name} includes {header}, which is not installed")
            else:
                torch = header.startswith(("torch/", "ATen/", "c10/"))
                check(mark == "<" and ("/" not in header or torch and folder in TORCH_FOLDERS),
                      f"{name} includes {header}, which a user may not have")
    for folder, umbrella in UMBRELLA.items():
        if f"scalevec/{umbrella}" not in headers:
            continue
        reached, waiting = set(), [f"scalevec/{umbrella}"]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += [header for _, header in includes[name] if header in headers]
        for name in headers:
            parts = max((f for f in UMBRELLA if name.startswith(f"scalevec/{f}/")), key=len, default=None)
            # The folder's own umbrella is installed a second time, as scalevec/NAME.hpp.
            check(parts != folder or name in reached or name == f"scalevec/{folder}/{umbrella}",
                  f"{name} is installed, but <scalevec/{umbrella}> does not reach it: add it there, or to the private"
                  " headers of cmake/ScalevecInstall.cmake")
    return headers


def check_package_files(prefix):
    for path in prefix.rglob("*"):
        if path.suffix not in (".hpp", ".cmake"):
            continue
        text = path.read_text(encoding="utf-8")
        check("nlohmann" not in text, f"{path} mentions nlohmann")
        if args.libtorch:
            text = text.replace(args.libtorch, "")
        for folder in (args.source, args.build):
            check(folder not in text, f"{path} names {folder}")


def build_example(name, prefix, scratch):
    source, build = scratch / name, scratch / f"{name}-build"
    shutil.copytree(pathlib.Path(args.source) / "examples" / name, source)
    configure(source, build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run(args.cmake, "--build", build)
    return run(build / name), (build / "CMakeCache.txt").read_text(encoding="utf-8")


def write_project(folder, text):
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(user LANGUAGES CXX)\n" + text,
                                           encoding="utf-8")
    return folder


def check_refusals(prefix, scratch):
    for index, (request, answer) in enumerate([("CONFIG REQUIRED COMPONENTS nosuch", "no component nosuch"),
                                               ("0.2 CONFIG REQUIRED", "compatible with requested"),
                                               ("0.0.9 CONFIG REQUIRED", "compatible with requested")]):
        folder = write_project(scratch / f"refused{index}", f"find_package(scalevec {request})\n")
        said = " ".join(configure(folder, folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}", fails=True).split())
        check(answer in said, f"find_package(scalevec {request}) said:\n{said}")


def check_other_libtorch(prefix, scratch):
    """The user's LibTorch comes before the one of the build, and one of another version is refused."""
    other = scratch / "other_libtorch"
    for file, text in [("include/torch/csrc/api/include/torch/torch.h", ""), ("lib/libtorch_cpu.so", ""), ("lib/libc10.so", ""),
                       ("include/torch/headeronly/version.h",
                        "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 999\n#define TORCH_VERSION_PATCH 0\n")]:
        (other / file).parent.mkdir(parents=True, exist_ok=True)
        (other / file).write_text(text, encoding="utf-8")
    folder = write_project(scratch / "other", "find_package(scalevec CONFIG REQUIRED COMPONENTS optim)\n")
    said = " ".join(configure(folder, folder / "build", f"-DCMAKE_PREFIX_PATH={prefix};{other}", fails=True).split())
    check("it was built with LibTorch" in said and "2.999.0" in said, f"a LibTorch of another version:\n{said}")


def check_subproject(scratch):
    """The tree inside another project: every library can be linked from outside, and core is built."""
    libraries = ["core", "theory"] + (["optim", "models"] if args.libtorch else [])
    apps = "".join(f"add_executable(use_{name} main.cpp)\ntarget_link_libraries(use_{name} PRIVATE scalevec::{name})\n"
                   for name in libraries)
    folder = write_project(scratch / "subproject", f'add_subdirectory("{args.source}" scalevec EXCLUDE_FROM_ALL)\n{apps}')
    (folder / "main.cpp").write_text("#include <scalevec/core.hpp>\nint main() { return scalevec::to_string("
                                     "scalevec::ParamKind::scale) == \"scale\" ? 0 : 1; }\n", encoding="utf-8")
    options = [f"-DCMAKE_PREFIX_PATH={args.libtorch}"] if args.libtorch else ["-DSCALEVEC_WITH_TORCH=OFF"]
    configure(folder, folder / "build", *options, "-DSCALEVEC_MODELS=ON", "-DSCALEVEC_THEORY=ON")
    run(args.cmake, "--build", folder / "build", "--target", "use_core")
    run(folder / "build" / "use_core")


CLIENT = """
#include <scalevec/optim.hpp>
#include <torch/utils.h>
int main() {
  const torch::Tensor p = torch::ones({4, 3}).requires_grad_(true);
  scalevec::AdamW optimizer(std::vector<torch::Tensor>{p}, scalevec::AdamWOptions(0.5).weight_decay(0));
  p.mutable_grad() = torch::ones({4, 3});
  optimizer.step();
  return torch::allclose(p, torch::full({4, 3}, 0.5)) ? 0 : 1;
}
"""


def check_page(prefix, scratch):
    """The programs of docs/optimizers/in-your-program.md compile as they stand, by the lines of CMake beside them."""
    page = (pathlib.Path(args.source) / "docs/optimizers/in-your-program.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(cpp|cmake)\n(.*?)^```$", page, re.M | re.S)
    programs = [text for language, text in blocks if language == "cpp" and "int main()" in text]
    cmake = next(text for language, text in blocks if language == "cmake")
    check(len(programs) == 2 and programs[0].count("\n") <= 10 and page.index(programs[0]) < 100,
          "in-your-program.md does not begin with a program of ten lines, or has not two programs")
    folder = write_project(scratch / "page", "add_executable(app main.cpp)\n" + cmake)
    for number, program in enumerate(programs):
        (folder / "main.cpp").write_text(program, encoding="utf-8")
        if number == 0:
            configure(folder, folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
        run(args.cmake, "--build", folder / "build")
        said = run(folder / "build" / "app")
    check("0.weight " in said, f"the program with roles said:\n{said}")


def check_client(scratch):
    folder = write_project(scratch / "client", f'add_subdirectory("{args.source}" scalevec EXCLUDE_FROM_ALL)\n'
                           "add_executable(client main.cpp)\ntarget_link_libraries(client PRIVATE scalevec::optim)\n")
    (folder / "main.cpp").write_text(CLIENT, encoding="utf-8")
    build = folder / "build"
    configure(folder, build, f"-DCMAKE_PREFIX_PATH={args.libtorch}", "-DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON",
              "-DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON", "-DCMAKE_DISABLE_FIND_PACKAGE_Catch2=ON")
    run(args.cmake, "--build", build, "--parallel")
    run(build / "client")
    objects = [path.relative_to(build).as_posix() for path in build.rglob("*.o")]
    foreign = [name for name in objects if re.search("scalevec_(models|theory)", name)]
    check(not foreign, f"a client of the optimizers compiled {foreign}")
    print(f"a client by add_subdirectory builds {len(objects)} objects and runs")


def main():
    with tempfile.TemporaryDirectory(prefix="scalevec-install-") as temporary:
        scratch = pathlib.Path(temporary)
        if args.client:
            check_client(scratch)
            return
        prefix = scratch / "prefix"
        run(args.cmake, "--install", args.build, "--prefix", prefix)
        headers = check_headers(prefix / "include" / "scalevec")
        check_package_files(prefix)
        check_refusals(prefix, scratch)

        said, cache = build_example("theory_app", prefix, scratch)
        check("1.73" in said, f"theory_app does not know T5's 1.7351:\n{said}")
        check("torch" not in cache.lower(), "a user of theory was asked for LibTorch")
        if args.libtorch:
            check_other_libtorch(prefix, scratch)
            said, _ = build_example("libtorch_app", prefix, scratch)
            losses = re.search(r"AdamW alone (\S+), by role (\S+)", said)
            # Guessing among 29 classes costs ln 29 = 3.37 nats.
            check(losses and all(0 <= float(loss) < 1.0 for loss in losses.groups()), f"libtorch_app said:\n{said}")
            said, _ = build_example("own_method", prefix, scratch)
            # Every element moves by lr, and no program of the suite fails.
            check(said == "w 1.50, |update| 1.732\n", f"own_method said:\n{said}")
            check_page(prefix, scratch)
        check_subproject(scratch)
        print(f"{len(headers)} headers installed; the examples build and run against them")


main()
