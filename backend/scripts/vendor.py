"""Copy the pages' assets from npm into the package, so that serving needs no node.

`npm/package-lock.json` locks the versions and hashes, and `FILES` lists the files. The copies are
committed. CI runs this script again and fails if a committed copy differs.
"""

import shutil
import subprocess
from pathlib import Path

BACKEND = Path(__file__).parents[1]
NPM = BACKEND / "npm"
VENDOR = BACKEND / "src" / "app" / "web" / "vendor"

FILES = {
    "chart.js": ("dist/chart.umd.min.js", "LICENSE.md"),
    "htmx.org": ("dist/htmx.min.js", "dist/ext/hx-sse.min.js", "LICENSE"),
    "redoc": (
        "bundles/redoc.standalone.js",
        "bundles/redoc.standalone.js.LICENSE.txt",
        "LICENSE",
    ),
    "swagger-ui-dist": (
        "swagger-ui-bundle.js",
        "swagger-ui-bundle.js.LICENSE.txt",
        "swagger-ui.css",
        "LICENSE",
        "NOTICE",
    ),
}


def main() -> None:
    """Install the locked packages, and replace the earlier copies."""
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NPM, check=True)  # noqa: S607 - wherever it is installed
    shutil.rmtree(VENDOR, ignore_errors=True)
    for package, files in FILES.items():
        folder = VENDOR / package
        folder.mkdir(parents=True)
        for file in files:
            shutil.copyfile(NPM / "node_modules" / package / file, folder / Path(file).name)


if __name__ == "__main__":
    main()
