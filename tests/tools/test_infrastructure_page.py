"""The recipes of docs/infrastructure.md, carried out from the page with real programs where they are to be had."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Engine, page_project

PAGE = Path(__file__).resolve().parents[2] / "docs" / "infrastructure.md"
STAGE = """
[stages]
live = { kind = "deploy", environment = "production" }
[environments]
production = {}
"""


def recipe(name: str) -> tuple[str, dict[str, str]]:
    """The configuration and the files in the section of a program."""
    section = PAGE.read_text("utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    [config] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    return config, dict(re.findall(r"`([\w./]+)`:\n\n```\w+\n(.*?)```", section, re.DOTALL))


class Recipe:
    """One program's recipe in a project, and a place for what it makes."""

    def __init__(self, shop: Any, root: Path, name: str) -> None:
        self.shop, self.desk, self.stage = shop, root / "desk", STAGE
        self.desk.mkdir()
        programs = root / "programs"
        programs.mkdir()
        self.programs = programs
        path = [str(programs), os.path.dirname(sys.executable), os.environ["PATH"]]
        self.env = {"STATES": str(self.desk), "DESK": str(self.desk), "PATH": os.pathsep.join(path)}
        self.config, self.files = recipe(name)

    def release(self, *arguments: str, **files: str) -> Any:
        self.shop.write(self.stage + self.config, {**self.files, **files})
        return self.shop.run("--to", "production", *arguments, env=self.env)

    def command(self, *words: str) -> Any:
        return self.shop.command(*words, env=self.env)

    def stand_in(self, program: str, text: str) -> None:
        path = self.programs / program
        path.write_text(text)
        path.chmod(0o755)


HOSTS = """[shop]
localhost ansible_connection=local ansible_python_interpreter="{{ ansible_playbook_python }}"
"""
PLAYBOOK = """- hosts: shop
  gather_facts: false
  tasks:
    - name: settings of the shop
      ansible.builtin.copy:
        dest: "{{ lookup('env', 'DESK') }}/shop.conf"
        content: "version = {{ version }}\\n"
"""


def test_ansible(project: Any, tmp_path: Path) -> None:
    made = Recipe(project, tmp_path, "Ansible")
    made.config = made.config.replace('tool = "commands"', 'tool = "commands"\npass_env = ["DESK"]')
    made.files |= {"ops/hosts": HOSTS, "ops/site.yml": PLAYBOOK}
    done = made.release()
    assert done.code == 0, done.err + project.log("live")
    assert (made.desk / "shop.conf").read_text() == "version = 0.1.0\n"
    log = project.log("live")
    assert (
        "hosts in production: changed: [localhost]" in log
        and "hosts in production: +version = 0.1.0" in log
    )
    done = made.release(**{"ops/site.yml": PLAYBOOK.replace("content:", "no_such_key:")})
    assert done.code == 1 and (made.desk / "shop.conf").read_text() == "version = 0.1.0\n", done.err


MAIN = """terraform {
  backend "local" {}
}
variable "release" { type = string }
resource "terraform_data" "NAME" { input = var.release }
output "url" { value = "https://${terraform_data.NAME.output}.example.com" }
"""
TERRAFORM = r"""#!/bin/sh
# Plans and keeps state as Terraform does, for what the recipe asks of it.
release= ; state=$(cat .backend 2>/dev/null || true)
for word; do
  case $word in
    -backend-config=path=*) state=${word#-backend-config=path=}; echo "$state" > .backend ;;
    release=*) release=${word#release=} ;;
  esac
done
old=$(cut -d' ' -f1 "$state" 2>/dev/null || true)
new=$(sed -n 's/^resource "terraform_data" "\([a-z]*\)".*/terraform_data.\1/p' main.tf)
case $1 in
  plan)
    if [ "$old" = "$new" ]; then echo "  # $new will be updated in-place"
    else
      test -z "$old" || echo "  # $old will be destroyed"
      echo "  # $new will be created"
    fi ;;
  apply) if [ -n "$new" ]; then echo "$new $release" > "$state"; else rm -f "$state"; fi ;;
  output) read -r _ release < "$state"; printf 'https://%s.example.com' "$release" ;;
esac
"""


@pytest.mark.parametrize("program", ["terraform", "stand-in"])
def test_terraform(project: Any, tmp_path: Path, program: str) -> None:
    """With the real one where there is one."""
    made = Recipe(project, tmp_path, "Terraform")
    if program == "stand-in" or shutil.which("terraform") is None:
        made.stand_in("terraform", TERRAFORM)
    done = made.release(**{"infra/main.tf": MAIN.replace("NAME", "shop")})
    assert done.code == 0, done.err + project.log("live")
    assert "cloud in production: # terraform_data.shop will be created" in project.log("live")
    assert (made.desk / "production.tfstate").exists()
    assert made.release().code == 0
    assert "cloud in production: # terraform_data.shop will be updated in-place" in project.log(
        "live"
    )
    refused = made.release(**{"infra/main.tf": MAIN.replace("NAME", "store")})
    assert refused.code == 3 and "would lose something" in refused.err, refused.err
    assert project.query("SELECT version FROM deployments_now") == ["0.1.1"]
    gone = made.command("env", "destroy", "production", "--yes")
    assert gone.code == 0, gone.err
    left = made.desk / "production.tfstate"
    assert not left.exists() or '"resources": []' in left.read_text()


HELM = r"""#!/bin/sh
# Takes what Helm takes, and nothing else.
echo "$*" >> "$DESK/called"
case $1 in
  package) tar -czf shop-0.1.0.tgz -C charts shop ;;
  template) tar -tzf "$3" shop/Chart.yaml > /dev/null; printf 'kind: Deployment\nimage: shop:%s\n' "${5#image.tag=}" ;;
  get) cat "$DESK/manifest" ;;
  upgrade)
    test "$2 $5 $7 $8" = "--install --set-string --atomic --wait"
    printf 'kind: Deployment\nimage: shop:%s\n' "${6#image.tag=}" > "$DESK/manifest"
    tar -xzOf "$4" shop/Chart.yaml | grep -qv broken ;;
  uninstall) rm -f "$DESK/manifest" ;;
  *) exit 64 ;;
esac
"""


def test_helm_is_called_as_its_manual_says(project: Any, tmp_path: Path) -> None:
    """By a stand-in: that it does what is meant to be done, nothing here shows."""
    made = Recipe(project, tmp_path, "Helm")
    made.config = made.config.replace('"KUBECONFIG"', '"KUBECONFIG", "DESK"')
    made.config = made.config.replace('"chart.tgz" }', '"chart.tgz" }, pass_env = ["DESK"]')
    made.stage = "[environments]\nproduction = {}\n"
    made.stand_in("helm", HELM)
    made.files |= {
        "charts/shop/Chart.yaml": "apiVersion: v2\nname: shop\n",
        ".gitignore": "*.tgz\n",
    }
    for image in ("0.1.0", "0.1.1"):
        done = made.release()
        assert done.code == 0, done.err + project.log("live")
        assert f"shop in production: +image: shop:{image}" in project.log("live")
    assert "shop in production: -image: shop:0.1.0" in project.log("live")
    failed = made.release(**{"charts/shop/Chart.yaml": "broken\n"})
    assert failed.code == 1 and "shop in production is at 0.1.1 again" in failed.err, failed.err
    assert "shop:0.1.1" in (made.desk / "manifest").read_text()
    gone = made.command("env", "destroy", "production", "--yes")
    assert gone.code == 0 and not (made.desk / "manifest").exists(), gone.err


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.needs("buildah", "podman", "runc", "busybox", "sqlite3")
def test_compose(project: Any, engine: Engine, tmp_path: Path) -> None:
    """podman-compose with real containers of the image that was built, beside a database that is migrated."""
    made = Recipe(project, tmp_path, "Compose")
    made.env |= {**engine.env, "COMPOSE": "podman-compose"}
    made.stage = "[environments]\nproduction = {}\n"
    made.config = (
        '[stages]\nimage = { tool = "oci", produces = ["image"], pass_env = ["CONTAINERS_*", "BUILDAH_ISOLATION"] }\n'
        + made.config
    )

    def release(page: str, number: int) -> Any:
        page_project(project.tree, page)
        return made.release(**{f"db/{number}.sql": f"CREATE TABLE t{number} (x);\n"})

    def page() -> str:
        return engine.podman("exec", "production_web_1", "/bin/busybox", "cat", "/www/index.html")

    for number, version in enumerate(("0.1.0", "0.1.1")):
        done = release(f"Version {version}", number)
        assert done.code == 0, done.err + project.log("live")
    seen = made.command("env", "observe", "production", "--json").json()
    assert (seen["observed"], seen["agrees"]) == ("0.1.1", True)
    refused = release("broken", 2)
    assert refused.code == 1 and "shop in production is at 0.1.1 again" in refused.err, refused.err
    assert "the page does not say Version 0.1.2" in refused.err and page() == "Version 0.1.1"
    assert (made.desk / "migrated").read_text().split() == ["db/0.sql", "db/1.sql", "db/2.sql"]
    done = made.command("rollback", "production", "--to", "0.1.0")
    assert done.code == 0 and page() == "Version 0.1.0", done.err
    gone = made.command("env", "destroy", "production", "--yes")
    assert gone.code == 0, gone.err
    assert engine.podman("ps", "--all", "--quiet") == ""
