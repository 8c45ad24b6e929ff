"""Pictures and pages, from result files alone.

    python -m plots.report DIRECTORY     the pictures and report.html of a run or of a study
    python -m plots.plot DIRECTORY       the pictures of a run

Read on in `report`, from top to bottom:

    study          a study's files as values            style          how every picture looks
    hdr_log        latency logs                         figures        a run's pictures
    findings       what a study shows, in words         study_figures  a study's pictures
    plot           a run's files, read and drawn        page           what a page is made of
                                                        run_page       a run's page
                                                        study_page     a study's page

A new picture of a study is one function in `study_figures`.
"""
