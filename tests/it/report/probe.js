// What a browser made of the page, told to the page around it. The test adds this to a copy of the page.
addEventListener('load', () => {
  const all = (root, what) => [...root.querySelectorAll(what)];
  const box = (element) => element.getBoundingClientRect();
  const count = (paths, what) => paths.reduce((n, path) => n + path.getAttribute('d').match(what).length, 0);
  const overlap = (a, b) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  const charts = all(document, 'svg.chart').filter((chart) => box(chart).width > 0).map((chart) => {
    const [around, texts] = [box(chart), all(chart, 'text')];
    const shown = all(chart, 'path,rect').filter((part) => !part.closest('.noise'));
    return {
      title: chart.querySelector('title').textContent,
      lines: all(chart, '.line').length,
      vertices: count(all(chart, '.line .l'), /[Ml]/g),
      dots: count(all(chart, '.dots > :last-child'), /M/g),
      bars: all(chart, '.bar').length,
      parts: all(chart, '.bar .s').length,
      invisible: shown.filter((part) => box(part).width + box(part).height === 0).length,
      cut: texts.filter((text) => box(text).left < around.left - 1 || box(text).right > around.right + 1).map((text) => text.textContent),
      overlapping: texts.flatMap((a, i) => texts.slice(i + 1).filter((b) => overlap(box(a), box(b))).map((b) => `${a.textContent} / ${b.textContent}`)),
      smallest_text: Math.min(...texts.map((text) => parseFloat(getComputedStyle(text).fontSize) * around.width / chart.viewBox.baseVal.width)),
    };
  });
  const report = {
    width: innerWidth,
    content: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType('resource').map((request) => request.name),
    charts,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(report));
  parent.postMessage(btoa(String.fromCharCode(...bytes)), '*');
});
