#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "base/text.h"

namespace millrace::app {
namespace {

// Calls visit(path, words) for every command: its path from the root ("topic create") and what may follow it.
template <typename Visit>
void visit_commands(const CLI::App& command, const std::string& path, const Visit& visit) {
  std::string words;
  for (const auto* sub : command.get_subcommands(nullptr)) words += sub->get_name() + " ";
  for (const auto* level = &command; level != nullptr; level = level->get_parent())
    for (const auto* option : level->get_options())
      for (const auto& name : option->get_lnames())
        if (level == &command || name != "help") words += "--" + name + " ";
  visit(path, words);
  for (const auto* sub : command.get_subcommands(nullptr))
    visit_commands(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), visit);
}

// bash's programmable completion; zsh understands it through bashcompinit. Only words that lead to a known command
// count: flags and their values may stand between them.
std::string bash_script(const CLI::App& root) {
  std::string paths = "|";
  std::string cases;
  visit_commands(root, "", [&](const std::string& path, const std::string& words) {
    paths += path + "|";
    cases += fmt::format("    \"{}\") words=\"{}\" ;;\n", path, words);
  });
  return "_millrace() {\n"
         "  local path= word paths=\"" +
         paths +
         "\"\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    [[ $paths == *\"|${path:+$path }$word|\"* ]] && path+=\"${path:+ }$word\"\n"
         "  done\n"
         "  local words=\n"
         "  case \"$path\" in\n" +
         cases +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "  [[ -n $COMPREPLY ]] || COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -F _millrace millrace\n";
}

// "list" under "topic" is offered only where both words stand.
std::string fish_script(const CLI::App& root) {
  std::string script = "complete -c millrace -f\n";
  visit_commands(root, "", [&](const std::string& path, const std::string& words) {
    std::string condition = path.empty() ? "__fish_use_subcommand" : "";
    for (const std::string_view word : split(path, ' '))
      if (!word.empty())
        condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", word);
    script += fmt::format("complete -c millrace -n '{}' -a '{}'\n", condition, words);
  });
  return script;
}

}  // namespace

void add_completion_commands(CLI::App& root, CommandLine& line) {
  auto shell = std::make_shared<std::string>();
  auto* completion =
      root.add_subcommand("completion", "a script that completes commands: source <(millrace completion bash)");
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&root, &line, shell] {
    line.selected = [&root, &line, shell]() -> Status {
      if (*shell == "zsh") line.out << "autoload -U +X bashcompinit && bashcompinit\n";
      line.out << (*shell == "fish" ? fish_script(root) : bash_script(root));
      return {};
    };
  });
}

}  // namespace millrace::app
