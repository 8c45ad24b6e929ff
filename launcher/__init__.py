"""The launcher behind run-cluster.sh: starts servers and clients, gathers what they leave.

    arguments   what was typed -> Config, or a UsageError
    tools       missing tools, the build, the virtual environment
    nodes       which machines: hosts file, CloudLab, this machine
    plan        pure: nodes, addresses and ports -> the command of each node
    scripts     pure: the bash scripts that run on nodes
    shell       runs those scripts here or over ssh
    survey      asks every node what the plan needs to know, brings the programs there
    supervisor  the started programs: their output as events, their logs, their end
    results     the run's directory, gathering, merging, plots, the closing lines
    record      run.json: what became of the run, for programs to read
    screen      what people see
    launch      one run, from Config to exit code

Standard library only: it runs before anything was installed.
"""
