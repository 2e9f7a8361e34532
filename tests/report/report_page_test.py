"""Pages of scalevec in a real browser: no script error, no sideways scrolling, keys that hide their curves, values under
the pointer, light and dark, and all of it readable without JavaScript.

    report_page_test.py REPORT_PROGRAM       reports of synthetic records, in every state that a comparison can be in
    report_page_test.py --page PAGE.html...  the general checks on pages that are there

Without Chromium it exits with 77, which CTest takes for skipped.
"""
import html
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import records

WIDTHS = [380, 768, 1024, 1400]
NASTY = "<b>&\"it's\" </script>"
LONG = "long_" * 30

# Runs in the page itself, at the width of its frame, and reports to the page around it.
PROBE = r"""
(() => {
  const problems = [];
  const check = (truth, text) => { if (!truth) problems.push(text); };
  for (const e of window.errors) problems.push('script error: ' + e);
  check(document.documentElement.classList.contains('js'), 'the script has not run');
  check(document.scrollingElement.scrollWidth <= innerWidth,
        'scrolls sideways: ' + document.scrollingElement.scrollWidth + ' px wide');
  for (const box of document.querySelectorAll('.scroll, pre'))
    check(box.scrollWidth <= box.clientWidth + 1, 'a box scrolls sideways: ' + box.textContent.slice(0, 60));
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg.data, .tip, .defs, thead') || e.ownerSVGElement) continue;
    const r = e.getBoundingClientRect();
    if (r.width) check(r.right <= innerWidth + 1 && r.left >= -1, e.tagName + '.' + e.className + ' sticks out');
  }
  for (const t of document.querySelectorAll('svg text')) {
    const size = parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a, r = t.getBoundingClientRect();
    if (!r.width) continue;
    check(size >= 9.5, 'letters of ' + size.toFixed(1) + ' px in a picture');
    check(r.right <= innerWidth + 1 && r.left >= -1, 'a tick label sticks out: ' + t.textContent);
  }
  const rgb = c => c.match(/[\d.]+/g).slice(0, 3).map(v => {
    const s = v / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  const luminance = c => { const [r, g, b] = rgb(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = c => { const l = luminance(c); return (Math.max(l, paper) + 0.05) / (Math.min(l, paper) + 0.05); };
  for (const one of ['body', 'h2', '.meta', '.sub', 'td', 'th', 'a', 'figcaption', '.mark', 'summary'])
    for (const e of [...document.querySelectorAll(one)].slice(0, 3))
      check(contrast(getComputedStyle(e).color) >= 4.5, one + ' has too little contrast');
  for (const e of [...document.querySelectorAll('svg text')].slice(0, 3))
    check(contrast(getComputedStyle(e).fill) >= 4.5, 'a picture\'s text has too little contrast');

  const shown = e => getComputedStyle(e).display !== 'none';
  const keys = [...document.querySelectorAll('button.key')];
  let hidden = 0;
  for (const key of keys) {
    const part = key.closest('[data-keys]') || key.closest('figure');
    const all = [...part.querySelectorAll('g[data-key]')];
    const own = all.filter(g => g.dataset.key === key.dataset.key), others = all.filter(g => !own.includes(g));
    check(own.length > 0, 'a key without curves: ' + key.dataset.key);
    check(own.some(g => g.closest('figure') === key.closest('figure')), 'a key far from its curves');
    check(all.every(shown), 'not everything is shown at first');
    key.click();
    check(own.every(g => !shown(g)), 'a click leaves curves of ' + key.dataset.key);
    check(others.every(shown), 'a click on ' + key.dataset.key + ' hides others');
    check(key.getAttribute('aria-pressed') === 'false', 'aria-pressed stays');
    key.click();
    check(own.every(shown) && key.getAttribute('aria-pressed') === 'true', 'a second click does not show them again');
    hidden += own.length;
  }
  // The pointer on the first marker of the first curve.
  const mark = document.querySelector('#figure-loss_lr .s use');
  let tip = null;
  if (mark) {
    const r = mark.getBoundingClientRect(), plot = mark.closest('svg.plot');
    const at = { clientX: r.left + r.width / 2, clientY: r.top + r.height / 2, bubbles: true };
    plot.dispatchEvent(new PointerEvent('pointermove', at));
    const box = document.querySelector('.tip'), b = box.getBoundingClientRect();
    check(!box.hidden, 'no values under the pointer');
    check(b.left >= 0 && b.right <= innerWidth, 'the values stick out');
    tip = [...box.children].map(row => [...row.children].map(c => c.textContent));
    plot.dispatchEvent(new PointerEvent('pointerleave', at));
    check(box.hidden, 'the values stay when the pointer has gone');
  }
  parent.postMessage({ frame: FRAME, width: innerWidth, problems, keys: keys.length, hidden, tip, paper }, '*');
})();
"""


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        if shutil.which(name):
            return name
    return None


def dump(url, scratch, *options):
    """The page's elements as they stand after its scripts."""
    with tempfile.TemporaryDirectory(dir=scratch) as profile:
        done = subprocess.run([browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                               f"--user-data-dir={profile}", "--window-size=1600,1200", "--virtual-time-budget=20000",
                               *options, "--dump-dom", url], capture_output=True, text=True, timeout=240)
    if "<html" not in done.stdout:
        raise SystemExit(f"the browser gave no page: {done.stderr[-1000:]}")
    return done.stdout


def found_in(text):
    found = text[text.index('<pre id="found">') + len('<pre id="found">'):text.index("</pre>")]
    return json.loads(html.unescape(found) or "[]")


def measure(pages, scratch, dark):
    """For each page and width what PROBE reports."""
    frames = []
    for page in pages:
        for width in WIDTHS:
            copy = scratch / f"frame-{len(frames)}.html"
            text = page.read_text(encoding="utf-8")
            head = "<head><script>window.errors = []; onerror = (m, f, l) => errors.push(m + ' at ' + l);</script>"
            probe = f"<script>{PROBE.replace('FRAME', str(len(frames)))}</script></body>"
            text = text.replace("<head>", head, 1)
            at = text.rindex("</body>")
            copy.write_text(text[:at] + probe + text[at + len("</body>"):], encoding="utf-8")
            frames.append((page, width, copy))
    around = scratch / "around.html"
    around.write_text("<!DOCTYPE html><html><body><pre id=found></pre><script>const found = [];"
                      "onmessage = e => { found.push(e.data); document.getElementById('found').textContent = "
                      "JSON.stringify(found); };</script>" +
                      "".join(f'<iframe src="{copy.name}" style="width:{width}px;height:700px;border:0"></iframe>'
                              for _, width, copy in frames) + "</body></html>")
    text = dump(around.as_uri(), scratch, f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    results = {r["frame"]: r for r in found_in(text)}
    problems = []
    for i, (page, width, _) in enumerate(frames):
        where = f"{page.parent.name}/{page.name} at {width} px, {'dark' if dark else 'light'}"
        if i not in results:
            problems.append(f"{where}: no answer from the page")
            continue
        r = results[i]
        problems += [f"{where}: {p}" for p in r["problems"]]
        if r["width"] != width:
            problems.append(f"{where}: shown at {r['width']} px")
        if (r["paper"] < 0.2) != dark:
            problems.append(f"{where}: the page's colours are not {'dark' if dark else 'light'}")
    return problems, [(page, width, results.get(i)) for i, (page, width, _) in enumerate(frames)]


def make_reports(program, root):
    """Reports in every state, and the losses of the first by variant."""
    def fate(variant, lr, seed):
        if variant == LONG and lr == 8e-3:
            return records.DIVERGED
        return None if variant == "日本語" and seed == 2 else records.DONE

    offsets = {"no scale vectors": 0.0, NASTY: -0.02, "γ, decayed": -0.011, LONG: 0.002, "日本語": 0.6}
    printed = records.write_comparison(program, root / "full", offsets, fate=fate)
    dead = lambda *_: records.DIVERGED
    records.write_comparison(program, root / "alone", {"only one": 0.0})
    records.write_comparison(program, root / "dead", {"a": 0.0, "b": 0.0}, fate=dead)
    records.write_comparison(program, root / "rigid", {"a": 0.0, "b": 0.0, "c": 0.1}, spread=0.0, tuning=())
    records.write_comparison(program, root / "one_seed", {"a": 0.0, "b": 0.1}, seeds=(1,), tuning=())
    run = next((root / "full/cmp").glob("no_scale_vectors/*"))
    subprocess.run([program, "report", str(run), "--out", str(root / "run/report.html")], check=True,
                   capture_output=True)
    names = ("full/cmp", "alone/cmp", "dead/cmp", "rigid/cmp", "one_seed/cmp", "run")
    return [root / name / "report.html" for name in names], printed


def check_ranking(printed, page):
    lines = printed.strip().splitlines()
    problems = []
    if lines[-1] != f"report: {page}":
        problems.append(f"the last line is no path: {lines[-1]}")
    ranks = [line.split()[0] for line in lines[-7:-2]]
    if ranks != ["1", "2", "3", "4", "5"]:
        problems.append(f"no ranking in the five lines before the path: {lines[-8:]}")
    if not lines[-7].startswith(f"1  {NASTY}") or "better" not in lines[-7]:
        problems.append(f"the first line is not the best variant: {lines[-7]}")
    return problems


def check_values(results, page):
    """What the pointer shows on the first marker is what report.json holds."""
    curve = json.loads(page.with_suffix(".json").read_text())["variants"][0]["lr_curve"][0]
    problems = []
    for where, width, r in results:
        if where != page or not r:
            continue
        rows = r["tip"] or []
        row = next((row for row in rows if row[0] == "no scale vectors"), ["", "nan"])
        if not rows or float(rows[0][1]) != curve["lr"]:
            problems.append(f"at {width} px the pointer shows {rows[:1]} for lr {curve['lr']}")
        if not math.isclose(float(row[1].split()[0]), curve["loss"]["mean"], rel_tol=1e-4):
            problems.append(f"at {width} px the pointer shows {row} for a loss of {curve['loss']['mean']}")
        if r["keys"] < 5 or r["hidden"] < 10:
            problems.append(f"at {width} px there are only {r['keys']} keys with {r['hidden']} curves")
    return problems


def check_without_scripts(page, scratch):
    """In a frame that allows no scripts, looked at from the page around it."""
    around = scratch / "bare.html"
    around.write_text("<!DOCTYPE html><html><body><pre id=found></pre>" + "".join(
        f'<iframe sandbox="allow-same-origin" src="{page.as_uri()}" style="width:{width}px;height:700px"></iframe>'
        for width in WIDTHS) + """<script>onload = () => {
          document.getElementById('found').textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(f => {
            const d = f.contentDocument, curves = [...d.querySelectorAll('svg.data .s path')];
            return { js: d.documentElement.classList.contains('js'), text: d.body.innerText,
                     wide: d.scrollingElement.scrollWidth - f.clientWidth,
                     curves: curves.filter(c => c.getBoundingClientRect().width > 1).length,
                     intervals: [...d.querySelectorAll('.forest .ci')].length };
          })); };</script></body></html>""")
    problems = []
    for width, r in zip(WIDTHS, found_in(dump(around.as_uri(), scratch, "--allow-file-access-from-files"))):
        where = f"without JavaScript at {width} px"
        if r["js"]:
            problems.append(f"{where}: the script ran all the same")
        if r["wide"] > 0:
            problems.append(f"{where}: {r['wide']} px too wide")
        if r["curves"] < 60 or r["intervals"] < 4:
            problems.append(f"{where}: only {r['curves']} curves and {r['intervals']} intervals")
        for part in (NASTY, "γ, decayed", LONG, "日本語", "has lower loss than no scale vectors", "Optimizer policies"):
            if part not in r["text"]:
                problems.append(f"{where}: the page lacks {part}")
        if "Click a name" in r["text"]:
            problems.append(f"{where}: the page offers what does not work")
    return problems


def main():
    if not browser():
        print("skipped: there is no Chromium here (Debian: apt-get install chromium)")
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        if sys.argv[1] == "--page":
            pages = [pathlib.Path(p) for p in sys.argv[2:]]
        else:
            pages, printed = make_reports(str(pathlib.Path(sys.argv[1]).resolve()), scratch)
            problems += check_ranking(printed, pages[0])
            problems += check_without_scripts(pages[0], scratch)
        for dark in (False, True):
            found, results = measure(pages, scratch, dark)
            problems += found
            if sys.argv[1] != "--page":
                problems += check_values(results, pages[0])
    problems = list(dict.fromkeys(problems))
    print("\n".join(problems[:60]) or f"{len(pages)} pages at {len(WIDTHS)} widths, light and dark")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
