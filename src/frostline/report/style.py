"""How the pages look: light and dark, on a phone and in print."""

from frostline.report import colours


def _rgb(colour: tuple[int, int, int]) -> str:
    return " ".join(map(str, colour))


_COLOURS = f""":root{{color-scheme:light dark;--page:#fff;--ink:{colours.INK};--dim:{colours.DIM};
--line:{colours.GRID};--soft:#f4f6f8;--note:#fff6e0;--note-line:#d9a320;--link:#0b5a9c;
--good:{colours.VALIDATION};--bad:{colours.TRAINING};
--right:{_rgb(colours.RIGHT)};--wrong:{_rgb(colours.WRONG)}}}
@media screen and (prefers-color-scheme:dark){{:root{{--page:#14191f;--ink:{colours.INK_ON_DARK};
--dim:{colours.DIM_ON_DARK};--line:{colours.GRID_ON_DARK};--soft:#1c232b;--note:#2e2711;
--note-line:#b98a1c;--link:{colours.VALIDATION_ON_DARK};--good:{colours.VALIDATION_ON_DARK};
--bad:{colours.TRAINING_ON_DARK};--right:{_rgb(colours.RIGHT_ON_DARK)};
--wrong:{_rgb(colours.WRONG_ON_DARK)}}}}}
"""
_RULES = """*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0 auto;max-width:74rem;padding:2rem 1.25rem 4rem;background:var(--page);
color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,
sans-serif;overflow-wrap:anywhere}
h1{margin:0;font-size:1.25rem;line-height:1.3}
h2{margin:2.75rem 0 .75rem;padding-top:1.25rem;border-top:1px solid var(--line);font-size:1.4rem;
line-height:1.25}
h3{margin:1.5rem 0 .5rem;font-size:1.05rem}
p{max-width:46rem;margin:.5rem 0}.dim,figcaption{color:var(--dim)}
a{color:var(--link)}code{font:.875em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.byline{margin:.15rem 0 0;color:var(--dim);font-size:.9rem}
.split{margin:1.5rem 0 0;color:var(--dim)}.split+.lead{margin-top:0}
.lead{max-width:50rem;margin:1.25rem 0 .25rem;font-size:1.15rem}
.lead b{display:block;font-size:2rem;line-height:1.2;letter-spacing:-.01em}
.scale{position:relative;max-width:40rem;height:3.4rem;margin:1rem 0 0;font-size:.8rem;
color:var(--dim)}
.scale i{position:absolute;top:.7rem;left:0;right:0;height:.5rem;border-radius:.25rem;
background:var(--line)}
.scale .range{right:auto;background:var(--good);opacity:.4}
.scale .dot{left:auto;right:auto;top:.45rem;width:1rem;height:1rem;margin-left:-.5rem;
border-radius:50%;background:var(--good)}
.scale .tick{right:auto;top:.25rem;width:2px;height:1.4rem;margin-left:-1px;border-radius:0;
background:var(--bad)}
.scale span{position:absolute;top:1.75rem;white-space:nowrap}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;margin:1.25rem 0 0;font-size:.95rem}
.notes{margin:1.25rem 0;padding:.7rem 1rem;background:var(--note);
border-left:4px solid var(--note-line)}
.notes ul,.told{margin:0;padding-left:1.1rem}.notes li,.told li{max-width:50rem;margin:.2rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .75rem;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top}
th{font-weight:600}th[scope=row],th.text,td.text{text-align:left}thead th{vertical-align:bottom}
tbody tr:last-child>*{border-bottom:0}tr.out{color:var(--dim)}
.facts{max-width:60rem}.facts th{width:13rem;color:var(--dim);font-weight:400;padding-left:0}
.facts td{text-align:left}
.box{width:fit-content;max-width:100%;overflow:auto}.tall{max-height:34rem}
.box table{overflow-wrap:normal}.box td{white-space:nowrap}
.box .text,.box th[scope=row]{white-space:normal;max-width:26rem;min-width:6rem}
.tall thead th{position:sticky;top:0;background:var(--page)}
.row{display:flex;flex-wrap:wrap;gap:2rem 2.5rem;align-items:flex-start}.row>*{min-width:0}
.row h3{margin-top:.25rem}
.chart{width:26rem;max-width:100%}.chart svg{display:block;width:100%;height:auto}
.matrix td{min-width:3rem;padding:.4rem .5rem;border:1px solid var(--line);text-align:center;
vertical-align:middle}
.matrix tbody tr:last-child td{border-bottom:1px solid var(--line)}
.matrix small{display:block}.matrix .zero{color:var(--dim)}
.matrix thead td{border:0;min-width:0}
.many{font-size:.8rem}.many td{min-width:1.75rem;padding:.2rem}
.many thead th{padding:.2rem}
.box .matrix th[scope=row]{white-space:nowrap;min-width:0;max-width:16rem;overflow:hidden;
text-overflow:ellipsis;position:sticky;left:0;background:var(--page)}
.matrix thead th{text-align:center}.matrix .up{writing-mode:vertical-rl;transform:rotate(180deg);
max-height:10rem;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;display:inline-block}
.right{background:rgb(var(--right)/var(--a))}.wrong{background:rgb(var(--wrong)/var(--a))}
figure{margin:0}figcaption{font-size:.875rem;line-height:1.4}
.thumbs{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));
gap:1.25rem 1rem;margin:1rem 0;padding:0;list-style:none}
audio{display:block;width:100%;min-width:0;height:2rem;margin-top:.25rem}
.thumbs b{color:var(--ink)}.chance{white-space:nowrap}.name{font-size:.8rem}
.thumbs img,.thumbs .missing{display:block;width:100%;height:auto;aspect-ratio:1;
object-fit:contain;background:var(--soft);margin-bottom:.4rem}
.missing{padding:.75rem;display:grid;place-items:center;text-align:center;color:var(--dim);
background:var(--soft)}
summary{width:fit-content;cursor:pointer;padding:.25rem 0}
.kinds{display:flex;flex-wrap:wrap;gap:.5rem 2rem;padding:.25rem 0 1rem}
.kind p{margin:.25rem 0;font-size:.875rem;color:var(--dim)}
.small{display:flex;flex-wrap:wrap;gap:.6rem;margin:0;padding:0;list-style:none}
.small li{width:7rem;font-size:.8rem;line-height:1.3}
.small img,.small .missing{display:block;width:7rem;height:7rem;padding:0;object-fit:cover;
margin-bottom:.2rem}
.is-wrong .small img{outline:3px solid var(--bad);outline-offset:-3px}
.is-unsure .small img{outline:3px dashed var(--dim);outline-offset:-3px}
.classes{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:0 1rem}
.classes details[open]{grid-column:1/-1}
.views{overflow:auto}.views img{display:block;width:100%;min-width:44rem;max-width:60rem;
height:auto}
footer{margin-top:3rem;color:var(--dim);font-size:.875rem}
@media (max-width:34rem){
body{padding:1.25rem 1rem 3rem}.lead b{font-size:1.6rem}
.facts,.facts tbody,.facts tr,.facts th,.facts td{display:block;width:auto}
.facts th{padding:.5rem 0 0;border:0}.facts td{padding:0 0 .5rem}
.thumbs{grid-template-columns:repeat(2,minmax(0,1fr));gap:1rem .75rem}
.kind{width:100%}.small{display:grid;grid-template-columns:repeat(4,minmax(0,1fr))}
.small li,.small img,.small .missing{width:100%}
.small img,.small .missing{height:auto;aspect-ratio:1}
.box th,.box td{padding-left:.5rem;padding-right:.5rem}.box .matrix th[scope=row]{max-width:8rem}
}
@media print{
:root{color-scheme:light}
body{max-width:none;padding:0;font-size:11pt}*{print-color-adjust:exact;
-webkit-print-color-adjust:exact}
nav,details:not([open]){display:none}.views img{min-width:0}
.box{overflow:visible;width:auto}.tall{max-height:none}
.tall thead th{position:static}h2,h3,summary,.split,p.dim{break-after:avoid}
figure,tr,li,.notes,.matrix,.kind,.scale,.chart,#views{break-inside:avoid}
.row{gap:1rem}.chart{width:8.3cm}.small li,.small img,.small .missing{width:1.9cm}
.small img,.small .missing{height:1.9cm}.kinds{gap:.25rem 1rem}
.lead b{font-size:20pt}h2{margin-top:1.5rem}
.thumbs{grid-template-columns:repeat(4,1fr)}
}
"""
STYLE = _COLOURS + _RULES
