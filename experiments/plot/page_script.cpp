#include "experiments/plot/html.hpp"

namespace scalevec::experiments::html {

// Everything that comes from data is set as text or compared as a string, never parsed as HTML or as a selector.
const char* const kScript = R"(
(() => {
  'use strict';
  document.documentElement.classList.add('js');

  // A key hides its curves in its own figure, or in all figures of a [data-keys] part of the page.
  for (const key of document.querySelectorAll('button.key'))
    key.addEventListener('click', () => {
      const hide = key.getAttribute('aria-pressed') === 'true';
      const part = key.closest('[data-keys]') || key.closest('figure') || document;
      for (const one of part.querySelectorAll('[data-key]')) {
        if (one.dataset.key !== key.dataset.key) continue;
        if (one.matches('button')) one.setAttribute('aria-pressed', String(!hide));
        else one.classList.toggle('off', hide);
      }
    });

  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  document.body.append(tip);
  const text = x => {
    if (!Number.isFinite(x)) return 'n/a';
    const short = x === 0 ? '0' : String(Number(x.toPrecision(5)));
    return short.replace(/^-/, '\u2212').replace(/e-/, 'e\u2212');
  };
  const numbers = words => (words ? words.split(' ').map(Number) : []);
  const line = (label, value, colour) => {
    const row = document.createElement('div'), name = document.createElement('span');
    const shown = document.createElement('span');
    if (colour) {
      const dot = document.createElement('i');
      dot.className = colour;
      name.append(dot);
    }
    name.append(label);
    shown.textContent = value;
    row.append(name, shown);
    tip.append(row);
  };

  for (const plot of document.querySelectorAll('svg.plot[data-axes]')) {
    const area = plot.querySelector('svg.data'), hair = plot.querySelector('.cross-hair');
    const [x0, x1, logX, y0, y1, logY, width, height] = numbers(plot.dataset.axes);
    const along = (v, low, high, log) =>
      log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
    const curves = [...plot.querySelectorAll('.s[data-x]')].map(s => ({
      s, label: s.dataset.key, colour: s.dataset.colour, x: numbers(s.dataset.x), y: numbers(s.dataset.y),
      low: numbers(s.dataset.low), high: numbers(s.dataset.high) }));
    const hide = () => { tip.hidden = true; hair.style.visibility = 'hidden'; };
    const show = event => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(area.getScreenCTM().inverse());
      if (at.x < -8 || at.x > width + 8 || at.y < -8 || at.y > height + 8) return hide();
      const found = [];
      for (const c of curves) {
        if (c.s.classList.contains('off')) continue;
        let best = -1, least = 0.08 * width;
        c.x.forEach((x, i) => {
          const far = Math.abs(along(x, x0, x1, logX) * width - at.x);
          if (far < least && Number.isFinite(c.y[i])) { least = far; best = i; }
        });
        if (best >= 0) found.push({ c, i: best, far: least, y: c.y[best] });
      }
      if (!found.length) return hide();
      const off = f => Math.abs(height * (1 - along(f.y, y0, y1, logY)) - at.y);
      const shown = found.sort((a, b) => off(a) - off(b)).slice(0, 12).sort((a, b) => b.y - a.y);
      const x = shown.reduce((a, b) => (b.far < a.far ? b : a));
      const px = along(x.c.x[x.i], x0, x1, logX) * width;
      hair.setAttribute('x1', px);
      hair.setAttribute('x2', px);
      hair.style.visibility = 'visible';
      tip.textContent = '';
      line(plot.dataset.x || 'x', text(x.c.x[x.i]));
      for (const { c, i, y } of shown)
        line(c.label || '', text(y) + (c.low.length ? ' [' + text(c.low[i]) + ', ' + text(c.high[i]) + ']' : ''),
             c.colour);
      tip.hidden = false;
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      const right = event.clientX + 16;
      tip.style.left = scrollX + Math.max(4, right > room ? Math.min(room, event.clientX - tip.offsetWidth - 16)
                                                          : right) + 'px';
      tip.style.top = scrollY + Math.max(4, event.clientY - tip.offsetHeight - 12) + 'px';
    };
    plot.addEventListener('pointermove', show);
    plot.addEventListener('pointerdown', show);
    plot.addEventListener('pointerleave', hide);
  }
})();
)";

}  // namespace scalevec::experiments::html
